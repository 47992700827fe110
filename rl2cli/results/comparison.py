"""What `rl2 compare` finds: a row of figures and a curve for each group of runs that differ only in their seed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rl2cli.reporting.statistics import bootstrap_interval, interquartile_mean
from rl2cli.results.curve import Curve, curve, thinned
from rl2cli.results.groups import Group
from rl2cli.results.run_record import RunRecord
from rl2cli.results.values import finite

Axis = Literal["frames", "time"]
AXES: tuple[Axis, ...] = ("frames", "time")
GRID_POINTS = 400


@dataclass(frozen=True)
class Estimate:
    """The interquartile mean over seeds and its 95 % bootstrap interval, which needs two seeds."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class GroupCurve:
    """The curves of a group's seeds, and their interquartile mean where all of them have data.

    Where one has ended, a mean of the others would be of whichever seeds are left, so there is none.
    """

    seeds: list[Curve]
    mean: Curve
    low: Curve | None = None
    high: Curve | None = None


@dataclass(frozen=True)
class Compared:
    """A group and what its runs came to."""

    group: Group
    curve: GroupCurve
    final: Estimate | None
    best: Estimate | None
    frames: float | None
    frames_per_second: float | None
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        run = self.group.first
        return {
            "label": self.group.label,
            "environment": run.environment,
            "algorithm": run.algorithm,
            "seeds": [one.seed for one in self.group.runs],
            "runs": [str(one.path) for one in self.group.runs],
            "left_out": self.group.left_out,
            "frames": self.frames,
            "final": _estimate_json(self.final),
            "best": _estimate_json(self.best),
            "frames_per_second": self.frames_per_second,
            "seconds": self.seconds,
            "curve": _curve_json(self.curve),
        }


def compare(groups: Sequence[Group], metric: str, axis: Axis = "frames") -> list[Compared]:
    """Return what each group came to; figures that are no returns are medians over its seeds."""
    return [
        Compared(
            group,
            joined([_curve(run, metric, axis) for run in group.runs]),
            _estimate(group, _final_return),
            _estimate(group, lambda run: None if run.best is None else run.best.mean_return),
            _median(group, lambda run: run.frames),
            _median(group, lambda run: run.frames_per_second),
            _median(group, lambda run: run.seconds),
        )
        for group in groups
    ]


def joined(curves: Sequence[Curve]) -> GroupCurve:
    """Return the interquartile mean of several curves and its interval, on a grid that all of them cover.

    Between its points a curve is taken as straight; beyond its ends it is not continued.
    """
    seeds = [one for one in curves if len(one)]
    if len(seeds) < 2:
        return GroupCurve([thinned(one) for one in seeds], thinned(seeds[0]) if seeds else Curve())
    grid = common_grid(seeds)
    if not grid:
        return GroupCurve([thinned(one) for one in seeds], Curve())
    values = np.array([np.interp(grid, one.x, one.y) for one in seeds])  # [seeds, grid]
    low, high = bootstrap_interval(values)
    on_grid = [tuple(map(float, ys)) for ys in (interquartile_mean(values), low, high)]
    mean, lower, upper = (Curve(grid, ys) for ys in on_grid)
    return GroupCurve([thinned(one) for one in seeds], mean, lower, upper)


def common_grid(curves: Sequence[Curve]) -> tuple[float, ...]:
    """Return the x of all points where every curve has data, evenly spaced ones where those are too many."""
    start, end = max(one.x[0] for one in curves), min(one.x[-1] for one in curves)
    if start > end:
        return ()
    xs = sorted({start, end, *(x for one in curves for x in one.x if start <= x <= end)})
    return tuple(xs) if len(xs) <= GRID_POINTS else tuple(map(float, np.linspace(start, end, GRID_POINTS)))


def _curve(run: RunRecord, metric: str, axis: Axis) -> Curve:
    found = run.curve(metric).finite()
    if axis == "frames":
        return found
    timed = ((run.timeline.seconds_at(x), y) for x, y in zip(found.x, found.y, strict=True))
    return curve((seconds, y) for seconds, y in timed if seconds is not None)


def _final_return(run: RunRecord) -> float | None:
    found = (finite(row["mean_return"]) for row in reversed(run.evaluations))
    return next((value for value in found if value is not None), None)


def _estimate(group: Group, figure: Callable[[RunRecord], float | None]) -> Estimate | None:
    found = [value for run in group.runs if (value := figure(run)) is not None]
    if not found:
        return None
    values = np.array(found)
    mean = float(interquartile_mean(values))
    if len(found) < 2:
        return Estimate(mean)
    low, high = bootstrap_interval(values)
    return Estimate(mean, float(low), float(high))


def _median(group: Group, figure: Callable[[RunRecord], float | None]) -> float | None:
    found = [value for run in group.runs if (value := figure(run)) is not None]
    return statistics.median(found) if found else None


def _estimate_json(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else {"iqm": estimate.mean, "low": estimate.low, "high": estimate.high}


def _curve_json(found: GroupCurve) -> dict[str, Any]:
    bands = {"low": found.low, "high": found.high}
    return {
        "x": list(found.mean.x),
        "iqm": list(found.mean.y),
        **{name: None if band is None else list(band.y) for name, band in bands.items()},
        "seeds": [{"x": list(one.x), "y": list(one.y)} for one in found.seeds],
    }
