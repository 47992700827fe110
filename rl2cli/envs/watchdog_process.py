"""The process that watches another one's environments from outside; a program of its own, without rl2 and torch.

It maps what each batch of environments writes about itself, see `HEADER`. Where one stays in a call past its limit,
also with the interpreter's lock held by foreign code, it says which and ends the process. Where the process dies in a
call, it says in which.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import queue
import signal
import sys
import threading
import time
from typing import Any

CALLS, METHOD, ENVIRONMENT, STEPS, TICKS, FIRST, COUNT = range(7)
"""Places in the numbers of a heartbeat: calls begun and ended, the method now called, the number of the environment
(-1 is all of them), steps of the batch, anything that shows progress, number of the first environment, and how many."""
HEADER = 7
"""Then come, for each environment, the step that its episode began with, and the episode's seed (-1 is unknown)."""

METHODS = ("nothing", "setup", "reset", "step", "render", "set_state")
NOTHING, SETUP, RESET, STEP, RENDER, SET_STATE = range(6)

EXIT_CODE = 3
"""As of `EnvironmentFault`. It is also SIGQUIT's number, whose handler leaves the process with the signal's number."""
GRACE_SECONDS = 3.0
"""How long the process may take to end by itself; then it is killed."""


def is_busy(numbers: Any) -> bool:
    """Return whether a call is under way that has a limit."""
    return bool(numbers[CALLS] % 2) and numbers[METHOD] in (RESET, STEP, RENDER)


def progress(numbers: Any) -> tuple[int, ...]:
    """Return what differs as soon as anything has moved on."""
    return numbers[CALLS], numbers[ENVIRONMENT], numbers[STEPS], numbers[TICKS]


def doing(numbers: Any) -> str:
    """Return in words who is in which call, such as `environment 3 was in step (episode seed 7, after 2 steps)`."""
    method = METHODS[numbers[METHOD] % len(METHODS)]
    number, first, count = numbers[ENVIRONMENT], numbers[FIRST], numbers[COUNT]
    if number < 0:
        return f"{_all(first, count)} in {method}, after {_steps(numbers[STEPS])}"
    index = number - first
    if method == "setup" or not 0 <= index < count or numbers[HEADER + count + index] < 0:
        return f"environment {number} was in {method}"
    seed, steps = numbers[HEADER + count + index], max(0, numbers[STEPS] - numbers[HEADER + index])
    return f"environment {number} was in {method} (episode seed {seed}, after {_steps(steps)} of the episode)"


def _all(first: int, count: int) -> str:
    return f"environment {first} was" if count == 1 else f"environments {first} to {first + count - 1} were"


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number:,} steps"


class Patience:
    """How long a heartbeat has stood still, without the time in which this process was stopped or asleep itself."""

    def __init__(self, numbers: Any) -> None:
        self._numbers = numbers
        self._seen: tuple[int, ...] = ()
        self.seconds = 0.0

    def look(self, passed: float, expected: float) -> float:
        """Return the seconds without progress, `passed` after the last look, which was to take `expected`."""
        now = progress(self._numbers)
        stood_still = now == self._seen
        self._seen = now
        self.seconds = self.seconds + min(passed, 2.0 * expected) if stood_still else 0.0
        return self.seconds


class _Watched:
    def __init__(self, limit: float, path: str) -> None:
        with open(path, "r+b") as file:
            self.numbers = memoryview(mmap.mmap(file.fileno(), 0)).cast("B").cast("q")
        with contextlib.suppress(OSError):  # Windows keeps a mapped file's name
            os.unlink(path)
        self.limit = limit
        self.patience = Patience(self.numbers)


def main(process: int, as_json: bool) -> None:
    """Watch `process` until it has gone, or ends this one; its requests are lines of JSON on stdin."""
    for name in ("SIGINT", "SIGTERM", "SIGQUIT"):  # a terminal's signals are for the process that is watched
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    watched: dict[int, _Watched] = {}
    while True:
        tick = min([1.0, *(one.limit / 8 for one in watched.values())])
        began = time.monotonic()
        try:
            request = requests.get(timeout=tick)
        except queue.Empty:
            if os.name != "nt" and os.getppid() != process:
                return _died(watched, as_json)
            passed = time.monotonic() - began
            for one in watched.values():
                if one.patience.look(passed, tick) > one.limit and is_busy(one.numbers) and not _is_stopped(process):
                    return _end(process, one, requests, as_json)
            continue
        if request is None:
            return _died(watched, as_json)
        if request["do"] == "watch":
            with contextlib.suppress(OSError):  # it has ended already, before this process was up
                watched[request["number"]] = _Watched(request["limit"], request["path"])
        else:
            watched.pop(request["number"], None)


def _read(requests: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    requests.put(None)


def _is_stopped(process: int) -> bool:
    """Return whether the process is stopped, by Ctrl-Z for example, where the system says so in a file."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def _end(process: int, one: _Watched, requests: queue.SimpleQueue[Any], as_json: bool) -> None:
    message = f"{doing(one.numbers)} for {one.limit:g} seconds, and gave no answer"
    _say(message, "timeout under [env] is its limit; `rl2 resume` goes on from the last checkpoint", as_json)
    with contextlib.suppress(OSError):
        os.kill(process, EXIT_CODE)
        if os.name == "nt":
            return
        with contextlib.suppress(queue.Empty):
            while requests.get(timeout=GRACE_SECONDS) is not None:
                pass
            return
        os.kill(process, signal.SIGKILL)


def _died(watched: dict[int, _Watched], as_json: bool) -> None:
    busy = [one for one in watched.values() if one.numbers[CALLS] % 2]
    if busy:
        message = f"rl2 was killed or crashed while {doing(busy[0].numbers)}"
        _say(message, "`rl2 resume` goes on from the last checkpoint; with workers under [env], "
             "an environment that dies is restarted", as_json)  # fmt: skip


def _say(message: str, hint: str, as_json: bool) -> None:
    shown = "\x1b[?25h\r\n" if os.isatty(2) else ""  # a live view hides the cursor
    text = f"{shown}error: {message}\n\nhint: {hint}\n"
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
    if as_json:
        error = {"message": message, "place": None, "hint": hint}
        with contextlib.suppress(OSError):
            os.write(1, json.dumps({"error": error, "exit_code": EXIT_CODE}).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] == "json")
