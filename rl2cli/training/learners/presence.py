"""Which learners are still there: each one counts in a store that all see, beside everything else it does."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch

from rl2cli import __version__
from rl2cli.errors import RL2Error
from rl2cli.training.learners.place import Place

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

BEAT_SECONDS = 1.0
LOST_AFTER = 60.0
"""Seconds without a beat after which a learner counts as lost, by the clock of whoever misses it."""
DOUBT_SECONDS = 3.0
"""Once something failed, or a signal came, seconds in which whoever is there beats."""
GOODBYE_SECONDS = 2.0


class LearnerLostError(RL2Error):
    """Another learner has ended, or cannot be reached any more; `ranks` are those known to be gone."""

    def __init__(self, message: str, *, hint: str | None = None, ranks: tuple[int, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.ranks = ranks


class Presence:
    """Shows the others that this learner is there, and sees whether they are.

    Args:
        store: Of this object alone: a thread uses it.
        place: Which learner this is.
    """

    def __init__(self, store: Store, place: Place) -> None:
        self._store, self._place = store, place
        self._others = [rank for rank in range(place.learners) if rank != place.rank]
        self._lock = threading.Lock()
        self._beats = 0
        self._last = dict.fromkeys(self._others, "")  # beat that was seen of each
        self._silence = dict.fromkeys(self._others, 0.0)  # seconds for which it has been the same
        self._unanswered = 0.0  # seconds for which the store has not answered
        self._words: dict[int, str] = {}  # of those that left
        self.patience = LOST_AFTER
        """Seconds after which a learner that does not show itself is lost."""
        self.answers = 0
        """How often the store has answered; it stands still where a question hangs, since no link leads there."""
        self._over = threading.Event()
        self._store.set(f"who/{place.rank}", json.dumps(self._card()))
        self._beat()
        self._thread = threading.Thread(target=self._beat_on, name="rl2-presence", daemon=True)
        self._thread.start()

    def hurry(self) -> None:
        """Lose patience: all are about to end."""
        self.patience = 2 * DOUBT_SECONDS

    def errors(self) -> dict[int, str]:
        """Return why learners left, of those that left because of an error."""
        with self._lock:
            return {rank: words for rank, words in self._words.items() if words}

    def has_failed(self) -> bool:
        """Return whether a learner is lost, or has left because of an error."""
        return bool(self.errors() or self.lost())

    def lost(self, patience: float | None = None) -> tuple[int, ...]:
        """Return the learners that have not shown themselves for so many seconds; by default `patience`."""
        with self._lock:
            patience = self.patience if patience is None else patience
            if self._unanswered > patience:  # whoever has the store is gone: the first learner's machine
                return (0,) if self._place.rank else tuple(self._others)
            return tuple(rank for rank, seconds in self._silence.items() if seconds > patience)

    def who_is_gone(self) -> tuple[int, ...]:
        """Return the learners that have ended without a word, after a moment where that is not clear yet."""
        until = time.monotonic() + DOUBT_SECONDS + 3 * BEAT_SECONDS
        while time.monotonic() < until and not self.errors() and not self.lost(DOUBT_SECONDS):
            time.sleep(0.1)
        return tuple(rank for rank in self.lost(DOUBT_SECONDS) if self.last_words(rank) is None)

    def leave(self, words: str = "") -> None:
        """Say that this learner ends, and why where it is an error."""
        self._over.set()
        with suppress(RuntimeError):
            self._store.set(f"left/{self._place.rank}", words)
        self._thread.join(GOODBYE_SECONDS)  # one that is asking the store when Python ends would abort the process

    def last_words(self, rank: int) -> str | None:
        """Return what a learner said when it left; None where it has not."""
        try:
            left = f"left/{rank}"
            return self._store.get(left).decode() if self._store.check([left]) else None
        except RuntimeError:
            return None

    def wait_for_leaving(self, seconds: float) -> list[str]:
        """Wait until all others have left, for so many seconds at most; return in words who has not."""
        until = time.monotonic() + seconds
        while (left := [rank for rank in self._others if self.last_words(rank) is None]) and time.monotonic() < until:
            time.sleep(0.02)
        return [self.describe(rank) for rank in left]

    def card(self, rank: int) -> dict[str, Any]:
        """Return what a learner said of itself when it came; empty where it has not come."""
        try:
            who = f"who/{rank}"
            return dict(json.loads(self._store.get(who))) if self._store.check([who]) else {}
        except RuntimeError:
            return {}

    def describe(self, rank: int) -> str:
        """Return a learner in words."""
        card = self.card(rank)
        return f"learner {rank} (process {card['pid']} on {card['host']})" if card else f"learner {rank}"

    def _card(self) -> dict[str, Any]:
        return {
            "host": platform.node(),
            "pid": os.getpid(),
            "versions": {"rl2": __version__, "torch": torch.__version__},
        }

    def _beat_on(self) -> None:
        most = BEAT_SECONDS + store_timeout().total_seconds()  # if more passed, this process was stopped for a while
        before = time.monotonic()
        while not self._over.wait(BEAT_SECONDS):
            beats = None
            with suppress(RuntimeError):  # the store does not answer
                beats = self._beat()
            now = time.monotonic()
            self._count(beats, min(now - before, most))
            before = now

    def _beat(self) -> dict[int, str]:
        """Show that this learner is there, and return the latest beat of the others that have come."""
        self._beats += 1
        self._store.set(f"beat/{self._place.rank}", str(self._beats))
        known = [rank for rank in self._others if self._store.check([f"beat/{rank}"])]
        words = {rank: text for rank in known if (text := self.last_words(rank)) is not None}
        with self._lock:
            self._words = words
        return {rank: self._store.get(f"beat/{rank}").decode() for rank in known}

    def _count(self, beats: dict[int, str] | None, passed: float) -> None:
        """Note which others have shown themselves, in the seconds that passed; None where the store did not say."""
        with self._lock:
            self.answers += beats is not None
            self._unanswered = self._unanswered + passed if beats is None else 0.0
            for rank, beat in (beats or {}).items():
                self._silence[rank] = self._silence[rank] + passed if beat == self._last[rank] else 0.0
                self._last[rank] = beat


def store_timeout() -> timedelta:
    """Return how long one question to the store may take."""
    return timedelta(seconds=LOST_AFTER / 3)
