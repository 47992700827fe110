"""When a view may draw again."""

from __future__ import annotations

import time

from rl2cli.reporting.progress import Clock

COST_FACTOR = 120
"""A drawing that took t seconds is followed by 120 t without one, so drawing takes less than 1 % of a run."""


class Refresh:
    """Spaces drawings by a least time and by what the last one cost."""

    def __init__(self, first: float, every: float, clock: Clock = time.perf_counter) -> None:
        self._every = every
        self._clock = clock
        self._next = clock() + first

    def due(self) -> bool:
        """Return whether the time for the next drawing has come."""
        return self._clock() >= self._next

    def begin(self) -> float:
        """Return the time, for `done`."""
        return self._clock()

    def done(self, began: float) -> float:
        """Set the next time after a drawing that began at `began`; return what it cost in seconds."""
        now = self._clock()
        cost = now - began
        self._next = now + max(self._every, COST_FACTOR * cost)
        return cost
