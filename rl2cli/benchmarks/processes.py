"""Run a command, timed from outside, with a limit; nothing of it is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import IO

from rl2cli.errors import RL2Error

OUTPUT_LIMIT = 2**24
"""Bytes of a stream that are read."""
SHOWN_LINES = 8
"""Last lines of stderr that the message about a failed command repeats."""


class MeasurementError(RL2Error):
    """A measured command failed, took too long, or did not report what was to be measured.

    `last_words` are the last lines of its stderr.
    """

    last_words: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended as expected."""

    started: float
    """Unix time just before it was started."""
    seconds: float
    """From then to its exit."""
    stdout: str
    peak_bytes: int | None
    """Most memory it held at once, its largest process only; None where the system does not say."""
    cpu_seconds: float | None
    """Processor time of it and its children; None where the system does not say."""


def run_command(command: Sequence[str], *, limit: float, exit_code: int = 0) -> Ended:
    """Run `command` and wait for its end, at most `limit` seconds.

    Raises:
        MeasurementError: It cannot be started, took longer, or ended with another code than `exit_code`.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started, before = time.time(), time.perf_counter()
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=os.name == "posix"
            )
        except OSError as error:
            raise MeasurementError(
                f"{command[0]} cannot be started: {error.strerror or error}", hint="is it there, and may it be run?"
            ) from error
        too_long = threading.Event()
        usage = _wait(process, limit, too_long)
        seconds = time.perf_counter() - before
        if too_long.is_set():
            raise MeasurementError(
                f"`{_shown(command)}` took longer than {limit:g} s",
                hint="does something else keep this machine busy? Measure again when it is idle",
            )
        if process.returncode != exit_code:
            raise _failed(f"`{_shown(command)}` ended with code {process.returncode}, not {exit_code}", _tail(err))
        return Ended(started, seconds, _content(out), *usage)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block through its `finally`s, so that the command being measured is ended too."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _wait(process: subprocess.Popen[bytes], limit: float, too_long: threading.Event) -> tuple[int | None, float | None]:
    """Wait for `process`, end it at `limit`, and return its peak memory and processor time."""

    def expire() -> None:
        too_long.set()
        _kill(process)

    timer = threading.Timer(limit, expire)
    timer.daemon = True
    timer.start()
    try:
        if not hasattr(os, "wait4"):
            process.wait()
            return None, None
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        _kill(process)
        process.wait()
        raise
    finally:
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS reports bytes, the others KiB
    return usage.ru_maxrss * unit, usage.ru_utime + usage.ru_stime


def _failed(message: str, last_words: str) -> MeasurementError:
    error = MeasurementError(message, hint=last_words or "it said nothing: run that command by itself")
    error.last_words = last_words
    return error


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and, where it leads a group, everything that it started."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(OUTPUT_LIMIT).decode("utf-8", "replace")


def _tail(file: IO[bytes]) -> str:
    return "\n".join(_content(file).strip().splitlines()[-SHOWN_LINES:])


def _shown(command: Sequence[str]) -> str:
    return " ".join([os.path.basename(command[0]), *command[1:]])
