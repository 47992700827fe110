"""Timings of both sides → medians, ratio and verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, TypeVar

Sample = TypeVar("Sample")
Unit = Literal["s", "min", "frames/s", "frames", "return", "MB", "%"]
Verdict = Literal["aim met", "must met", "missed", "not compared", "failed"]

OURS = "rl2"


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure has to reach (`must`), and what would be good (`aim`)."""

    must: float
    aim: float
    lower_is_better: bool
    of_ratio: bool
    """Whether the bar is for ours divided by the peer's, or for our figure itself."""

    def verdict(self, figure: float) -> Verdict:
        """Return which of the two `figure` reaches."""
        if self._reaches(figure, self.aim):
            return "aim met"
        return "must met" if self._reaches(figure, self.must) else "missed"

    def _reaches(self, figure: float, goal: float) -> bool:
        return figure <= goal if self.lower_is_better else figure >= goal


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of the table."""

    name: str
    what: str
    unit: Unit
    bar: Bar
    samples: Mapping[str, list[float]] = field(default_factory=dict)
    """Side → its figures: `"rl2"`, and the peers' names. A run that never got there counts as infinitely long."""
    details: Mapping[str, list[float]] = field(default_factory=dict)
    """Figures that no bar is set for, such as `"rl2: s until exit"`."""
    error: str | None = None
    """Why it could not be measured."""

    @property
    def ours(self) -> float | None:
        """Median of our figures."""
        return median(self.samples[OURS]) if self.samples.get(OURS) else None

    @property
    def peer(self) -> tuple[str, float] | None:
        """Name and median of the best peer; None where none was measured."""
        medians = {name: median(figures) for name, figures in self.samples.items() if name != OURS and figures}
        if not medians:
            return None
        best = min if self.bar.lower_is_better else max
        name = best(medians, key=medians.__getitem__)
        return name, medians[name]

    @property
    def ratio(self) -> float | None:
        """Our median divided by the best peer's; None without both, where both are infinite, or theirs not positive."""
        if self.ours is None or self.peer is None or self.peer[1] <= 0:
            return None
        found = self.ours / self.peer[1]
        return None if math.isnan(found) else found

    @property
    def verdict(self) -> Verdict:
        """How our figure stands to the bar."""
        figure = self.ratio if self.bar.of_ratio else self.ours
        if self.error is not None:
            return "failed"
        return "not compared" if figure is None else self.bar.verdict(figure)

    def to_json(self) -> dict[str, object]:
        """Return everything, samples included; what is not finite becomes None."""
        name, figure = self.peer or (None, None)
        return {
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "ours": _finite(self.ours),
            "peer": _finite(figure),
            "peer_name": name,
            "ratio": _finite(self.ratio),
            "must": self.bar.must,
            "aim": self.bar.aim,
            "bar_is_ratio": self.bar.of_ratio,
            "lower_is_better": self.bar.lower_is_better,
            "verdict": self.verdict,
            "samples": _finite_lists(self.samples),
            "details": _finite_lists(self.details),
            "error": self.error,
        }


def interleaved(measures: Mapping[str, Callable[[int], Sample]], repeats: int) -> dict[str, list[Sample]]:
    """Call each measure with 1, then each with 2, up to `repeats`: what the machine does meanwhile hits all alike."""
    found: dict[str, list[Sample]] = {name: [] for name in measures}
    for repeat in range(1, repeats + 1):
        for name, measure in measures.items():
            found[name].append(measure(repeat))
    return found


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _finite_lists(lists: Mapping[str, list[float]]) -> dict[str, list[float | None]]:
    return {name: [_finite(number) for number in numbers] for name, numbers in lists.items()}
