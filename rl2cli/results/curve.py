"""Curves: a number over frames or seconds, thinned for drawing, joined across seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

MOST_POINTS = 1000


@dataclass(frozen=True, slots=True)
class Curve:
    """Points in rising order of x; a y that is not finite is a gap."""

    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    def finite(self) -> Curve:
        """Return the curve without its gaps."""
        return curve((x, y) for x, y in zip(self.x, self.y, strict=True) if math.isfinite(y))


def curve(points: Iterable[tuple[float, float]]) -> Curve:
    """Return the curve through `points`; of those with the same x the last one counts."""
    by_x = {float(x): float(y) for x, y in points if math.isfinite(x)}
    xs = sorted(by_x)
    return Curve(tuple(xs), tuple(by_x[x] if math.isfinite(by_x[x]) else math.nan for x in xs))


def thinned(full: Curve, most: int = MOST_POINTS) -> Curve:
    """Return at most `most` of the points: of each stretch the lowest and the highest, so that no peak is lost."""
    total = len(full)
    if total <= most:
        return full
    stretches = max(1, (most - 2) // 2)
    edges = [1 + index * (total - 2) // stretches for index in range(stretches + 1)]
    kept = {0, total - 1}
    for start, end in pairwise(edges):
        seen = [index for index in range(start, end) if not math.isnan(full.y[index])]
        if seen:
            kept |= {min(seen, key=full.y.__getitem__), max(seen, key=full.y.__getitem__)}
        else:
            kept.add(start)  # the gap stays a gap
    chosen = sorted(kept)
    return Curve(tuple(full.x[index] for index in chosen), tuple(full.y[index] for index in chosen))
