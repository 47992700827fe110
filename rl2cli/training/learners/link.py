"""The end of a learner that no link leads to, or none from."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rl2cli.training.learners.group import Learners
from rl2cli.training.learners.place import START
from rl2cli.training.learners.presence import BEAT_SECONDS, LOST_AFTER

CUT_OFF_AFTER = LOST_AFTER + 20.0
"""Seconds without an answer after which this process ends by itself, where it has found no other way until then."""
_HINT = f"where the run's folder is, go on from its last checkpoint: {START} resume RUN"


@contextmanager
def ending_where_cut_off(learners: Learners) -> Iterator[None]:
    """End this process where a question that torch has asked the others hangs, since no link leads to them.

    torch gives up waiting by telling the other side so, and then waits for an answer to that, without a limit.
    """
    over = threading.Event()

    def watch() -> None:
        seen, silent = learners.answers, 0.0  # in steps of a beat: a pause of this process is no silence
        while not over.wait(BEAT_SECONDS):
            silent = silent + BEAT_SECONDS if seen == (seen := learners.answers) and seen is not None else 0.0
            if silent > CUT_OFF_AFTER:
                said = f"the other learners cannot be reached: nothing answers for {silent:.0f} s"
                sys.stderr.write(f"error: {said}\n\nhint: {_HINT}\n")
                sys.stderr.flush()
                os._exit(1)

    thread = threading.Thread(target=watch, name="rl2-link", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def end_without_torch(exit_code: int) -> None:
    """Have this process end, when it does, without torch's threads: they wait for those that were cut off."""

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)

    atexit.register(end)
