"""One worker process from the outside: starting it, asking it, and finding out that it has died or hangs."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

from rl2cli import errors
from rl2cli.envs.advice import RAISED
from rl2cli.envs.heartbeat import SharedHeartbeat
from rl2cli.envs.watchdog_process import METHOD, NOTHING, Patience, doing
from rl2cli.envs.worker_process import ENDED, FAILED, VALUE, Assignment, Failure, run
from rl2cli.errors import EnvironmentFault, RL2Error
from rl2cli.interpreter import safe_start

SETUP_LIMIT = 300.0
"""Seconds that a worker may take to start, at least: it imports the backend."""
_LOOK_SECONDS = 0.5
"""How often a heartbeat is looked at while an answer is waited for."""


class WorkerLostError(EnvironmentFault):
    """A worker process died, or gave no answer within its limit."""


class WorkerTraceback(Exception):
    """The traceback of an exception inside a worker process, as text."""


class Worker:
    """A worker process, started.

    Args:
        index: Its number.
        assignment: What it is told; `heartbeat` is filled in.
        limit: Seconds that it may go without progress while an answer is waited for.
        called: What it is called in messages; by its number where left out.
    """

    def __init__(self, index: int, assignment: Assignment, limit: float, called: str | None = None) -> None:
        self.index, self.start, self.stop = index, assignment.start, assignment.stop
        self.rows = slice(self.start, self.stop)
        self.name = called or f"worker {index} (environments {self.start} to {self.stop - 1})"
        self.lost: WorkerLostError | None = None
        self._owed = True  # an answer
        self._heartbeat = SharedHeartbeat(self.stop - self.start, self.start)
        self._limit = max(limit, SETUP_LIMIT)
        self._limit_in_use = limit
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        told = replace(assignment, heartbeat=self._heartbeat.path)
        self._process = context.Process(target=run, args=(theirs, told), name=f"rl2-worker-{index}", daemon=True)
        with _plain_start():
            self._process.start()
        theirs.close()

    def ready(self) -> None:
        """Wait until its environments are built.

        Raises:
            RL2Error: They could not be.
        """
        try:
            self.receive()
        finally:
            self._heartbeat.forget_path()
        self._limit = self._limit_in_use

    def send(self, command: str, *argument: Any) -> None:
        """Ask for `command`; a worker that cannot be asked any more is found lost by `receive`."""
        self._owed = True
        with contextlib.suppress(OSError):
            self._connection.send_bytes(command.encode())
            for each in argument:
                self._connection.send(each)

    def receive(self) -> Any:
        """Return the answer: whether an episode ended, or what was asked for.

        Raises:
            WorkerLostError: It died, or gave no answer.
            RL2Error: What its environments raised.
        """
        if self.lost is not None:
            raise self.lost
        try:
            if not self._answers():
                raise self._hangs()
            reply = self._connection.recv_bytes()
            self._owed = False
            if reply == FAILED:
                failure: Failure = self._connection.recv()
                raise self._rebuilt(failure) from WorkerTraceback(failure.trace)
            return self._connection.recv() if reply == VALUE else reply == ENDED
        except (EOFError, OSError) as error:
            raise self._died() from error

    def drop_answers(self) -> None:
        """Take no notice of what it has answered to what was asked last."""
        with contextlib.suppress(EOFError, OSError, RL2Error):
            if self._owed and self.lost is None:
                self.receive()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(OSError):
            self._connection.close()
        with contextlib.suppress(ValueError):  # it was ended before
            if self._process.is_alive():
                self._process.kill()
            self._process.join()
            self._process.close()

    def end(self) -> None:
        """Ask it to end; `kill` follows."""
        with contextlib.suppress(OSError):
            self._connection.send_bytes(b"close")
            self._connection.close()

    def join(self, seconds: float) -> None:
        """Wait for its end."""
        with contextlib.suppress(ValueError):
            self._process.join(seconds)

    def _answers(self) -> bool:
        """Wait for an answer or the end of the process; return False where it makes no progress within the limit."""
        patience, tick = Patience(self._heartbeat.numbers), min(_LOOK_SECONDS, self._limit / 4)
        waited_for: list[Any] = [self._connection, self._process.sentinel]
        patience.look(0.0, tick)
        while True:
            began = time.monotonic()
            ready = wait(waited_for, tick)
            if ready:
                return True if self._connection in ready else self._connection.poll(0) or self._raise_eof()
            if patience.look(time.monotonic() - began, tick) >= self._limit:
                return False

    def _raise_eof(self) -> bool:
        raise EOFError

    def _hangs(self) -> WorkerLostError:
        self.lost = WorkerLostError(
            f"{self.name} gave no answer for {self._limit:g} seconds{self._meanwhile()}",
            hint="timeout under [env] is the limit; max_restarts how often a worker is started anew",
        )
        return self.lost

    def _died(self) -> WorkerLostError:
        self._process.join(5)
        code = self._process.exitcode
        how = f"ended with exit code {code}" if code is None or code >= 0 else f"was killed by {_signal_name(-code)}"
        self.lost = WorkerLostError(
            f"{self.name} {how}{self._meanwhile()}", hint="its last words, if any, are above on the terminal"
        )
        return self.lost

    def _meanwhile(self) -> str:
        """Return which environment was in which call."""
        numbers = self._heartbeat.numbers
        return "" if numbers[METHOD] == NOTHING else f" while {doing(numbers)}"

    def _rebuilt(self, failure: Failure) -> RL2Error:
        """Return the exception that it sent: of its own class where that is one of rl2's."""
        kind = getattr(errors, failure.kind, None)
        if isinstance(kind, type) and issubclass(kind, RL2Error) and kind is not errors.Stopped:
            return kind(f"{self.name}: {failure.message}", hint=failure.hint, place=failure.place)
        return EnvironmentFault(f"{self.name} raised {failure.kind}: {failure.message}", hint=RAISED)


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def _plain_start() -> Iterator[None]:
    """Start a process that neither runs the parent's script again nor hears Ctrl-C or SIGTERM while it starts.

    It has the parent's module path from its first import on: nothing in the current folder comes before Python's own.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    can_block = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM}) if can_block else set()
    try:
        with safe_start():
            yield
    finally:
        sys.modules["__main__"] = script
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
