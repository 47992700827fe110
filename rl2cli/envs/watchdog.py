"""A watch over environments that are stepped in this process, kept by another process: see `watchdog_process`.

Only a command is watched: the program of somebody who uses rl2 as a library is not ended from outside.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl2cli.command import current
from rl2cli.envs import watchdog_process
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.heartbeat import Numbers, SharedHeartbeat
from rl2cli.envs.in_process import InProcessBatch
from rl2cli.envs.watchdog_process import CALLS, EXIT_CODE, METHOD, METHODS, STEP, STEPS

_WATCHED = ("reset", "step", "render", "set_state")

_watchdog: Watchdog | None = None


def watch_over(adapter: BaseEnvAdapter, limit: float) -> None:
    """Have a vectorised adapter of this process watched, where the process is a command.

    A call of it that makes no progress for `limit` seconds ends the process with `EnvironmentFault`'s exit code.
    """
    global _watchdog
    command = current()
    if command is None:
        return
    if _watchdog is None:
        _watchdog = Watchdog(command.as_json)
        command.at_end.callback(_forget)
    _watchdog.watch(adapter, limit)


def _forget() -> None:
    global _watchdog
    if _watchdog is not None:
        _watchdog.close()
    _watchdog = None


class Watchdog:
    """The watching process, and what it is told.

    Args:
        as_json: Whether it says what happened as JSON on stdout too.
    """

    def __init__(self, as_json: bool) -> None:
        arguments = [watchdog_process.__file__, str(os.getpid()), "json" if as_json else "text"]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", *arguments],
            stdin=subprocess.PIPE,
            stdout=None if as_json else subprocess.DEVNULL,
            cwd=Path(sys.executable).anchor,  # not the current folder, which may be removed
            start_new_session=True,  # Ctrl-C is for the process that it watches
        )
        self._numbers = itertools.count()
        self._heartbeats: list[SharedHeartbeat] = []
        self._lock = threading.Lock()
        self._can_quit = _leave_on_quit()
        atexit.register(self.close)

    def watch(self, adapter: BaseEnvAdapter, limit: float) -> None:
        """Watch every call of `adapter` from now to its `close`."""
        heartbeat, number = SharedHeartbeat(adapter.num_envs), next(self._numbers)
        numbers = heartbeat.numbers
        self._heartbeats.append(heartbeat)
        own = isinstance(adapter, InProcessBatch)
        if isinstance(adapter, InProcessBatch):
            adapter.attach_heartbeat(numbers)
        for name in _WATCHED:
            counts = name == "step" and not own
            setattr(adapter, name, _noted(getattr(adapter, name), METHODS.index(name), numbers, counts))
        close = adapter.close

        def close_and_forget() -> None:
            close()
            self._tell(do="forget", number=number)

        setattr(adapter, "close", close_and_forget)  # noqa: B010  # an attribute of this object, not of its class
        self._tell(do="watch", number=number, limit=limit, path=heartbeat.path)

    def close(self) -> None:
        """End the process: nothing is watched any more."""
        atexit.unregister(self.close)
        self._process.kill()
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.wait()
        for heartbeat in self._heartbeats:
            heartbeat.forget_path()
        self._heartbeats.clear()
        if self._can_quit:
            faulthandler.unregister(signal.SIGQUIT)
            signal.signal(signal.SIGQUIT, signal.SIG_DFL) if _in_main_thread() else None

    def _tell(self, **request: Any) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):  # it was killed: nothing is watched then
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()


def _noted(call: Callable[..., Any], method: int, numbers: Numbers, counts: bool) -> Callable[..., Any]:
    """Return `call` with its beginning and end written into a heartbeat, and steps counted if nothing else does."""
    if method != STEP:

        def noted(*arguments: Any, **named: Any) -> Any:
            numbers[METHOD] = method
            numbers[CALLS] += 1
            try:
                return call(*arguments, **named)
            finally:
                numbers[CALLS] += 1

        return noted

    def noted_step(action: Any) -> Any:
        numbers[METHOD] = method
        numbers[CALLS] += 1
        try:
            return call(action)
        finally:
            numbers[CALLS] += 1
            if counts:
                numbers[STEPS] += 1

    return noted_step


def _leave_on_quit() -> bool:
    """Have SIGQUIT print where every thread is and leave the process at once; return whether that is so.

    A handler in Python waits for the interpreter's lock, which foreign code that hangs may hold. So the handler is the
    C library's `_exit`, whose argument, the exit code, is the signal's number. Windows needs none: there, `os.kill`
    ends a process with the number as its exit code.
    """
    if os.name == "nt" or signal.SIGQUIT != EXIT_CODE or not _in_main_thread():
        return False
    import ctypes

    library = ctypes.CDLL(None)
    library.signal.argtypes, library.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    library.signal(signal.SIGQUIT, ctypes.cast(library._exit, ctypes.c_void_p))
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # there may be no stderr
        faulthandler.register(signal.SIGQUIT, file=sys.__stderr__ or 2, all_threads=True, chain=True)
    return True


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
