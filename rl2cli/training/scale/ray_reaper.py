"""Ends what a learner has left of Ray, however the learner ended; a program of its own, without rl2 and Ray.

It reads lines, each the number of a process and when that began, until the learner closes its stdin or is gone. Then it
kills those that are still there, and removes the folder that it was given, with the lock beside it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time


def begun(pid: int) -> str | None:
    """Return when a process began, in ticks since the machine did; None where it is gone, or this is not Linux."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]  # proc(5): starttime, the 22nd of all
    except (OSError, IndexError):
        return None


def main() -> None:
    """Wait for the learner's end."""
    for line in sys.stdin.read().splitlines():
        pid, _, when = line.partition(" ")
        if pid.isdigit() and begun(int(pid)) == when:
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
    for _ in range(20):  # they may be writing still
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        if not os.path.exists(sys.argv[1]):
            with contextlib.suppress(OSError):
                os.unlink(sys.argv[2])
            return
        time.sleep(0.1)


if __name__ == "__main__":
    main()
