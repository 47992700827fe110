"""Numbers as people read them, in Unicode or ASCII."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rl2cli.reporting.progress import Evaluation
from rl2cli.text import MOST_CHARACTERS, shortened


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters a terminal can show."""

    plus_minus: str
    times: str
    separator: str
    bar: str
    bar_rest: str
    levels: str
    """Of a sparkline, lowest first."""
    shades: str
    """One for each part of the time, so that the parts differ without colour."""
    top: tuple[str, str, str]
    """Left corner, edge and right corner of a frame."""
    bottom: tuple[str, str, str]
    side: str
    ascii_only: bool

    def clean(self, text: str) -> str:
        """Return `text`, which comes from data, with nothing in it that this terminal cannot show harmlessly."""
        safe = shortened(text, MOST_CHARACTERS)
        return safe.encode("ascii", "replace").decode() if self.ascii_only else safe


UNICODE = Glyphs(
    plus_minus="±",
    times="×",
    separator="·",
    bar="━",
    bar_rest="─",
    levels="▁▂▃▄▅▆▇█",
    shades="█▓▒░",
    top=("╭", "─", "╮"),
    bottom=("╰", "─", "╯"),
    side="│",
    ascii_only=False,
)
ASCII = Glyphs(
    plus_minus="+/-",
    times="x",
    separator="-",
    bar="#",
    bar_rest="-",
    levels="_.:-=+*#",
    shades="#=+.",
    top=("+", "-", "+"),
    bottom=("+", "-", "+"),
    side="|",
    ascii_only=True,
)


def glyphs_for(encoding: str | None) -> Glyphs:
    """Return the glyphs for a stream of this encoding."""
    return UNICODE if (encoding or "").lower().startswith("utf") else ASCII


def count(number: int) -> str:
    """Return a whole number with its thousands apart: `102,400`."""
    return f"{number:,}"


def significant(number: float, digits: int = 4) -> str:
    """Return `number` with a few significant digits: `183.2`, `-0.01234`, `12,346`, `1.25e-05`."""
    if not math.isfinite(number):
        return str(number)
    if number != 0 and not 1e-3 <= abs(number) < 1e9:
        return f"{number:.{digits - 2}e}"
    return f"{number:,.{max(0, _decimals(number, digits))}f}"


def rate(frames_per_second: float) -> str:
    """Return a speed with three significant digits: `81,200`."""
    if not math.isfinite(frames_per_second) or frames_per_second < 1:
        return significant(frames_per_second, 3)
    decimals = _decimals(frames_per_second, 3)
    return f"{round(frames_per_second, decimals):,.{max(0, decimals)}f}"


def duration(seconds: float) -> str:
    """Return a time in its two largest units: `5.2 s`, `42 s`, `1 min 05 s`, `2 h 03 min`, `3 d 04 h`."""
    return f"{seconds:.1f} s" if 0 < seconds < 9.95 else _whole_duration(seconds)


def eta(seconds: float) -> str:
    """Return a time left, rounded up to seconds: tenths would be a promise."""
    return _whole_duration(max(0, math.ceil(seconds))) if math.isfinite(seconds) else str(seconds)


def _whole_duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return str(seconds)
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days:,} d {hours:02} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def percent(part: float, whole: float) -> str:
    """Return a share rounded down, so that 100 % means all of it."""
    return f"{math.floor(100 * part / whole + 1e-9) if whole > 0 else 0} %"


def mean_and_interval(evaluation: Evaluation, glyphs: Glyphs) -> str:
    """Return an evaluation's mean and the half width of its interval with the same decimals: `475.0 ± 3.1`."""
    mean, interval = evaluation.mean_return, evaluation.interval
    largest = max(abs(mean), interval)
    if not math.isfinite(largest) or largest >= 1e9 or 0 < largest < 1e-4:
        return f"{significant(mean)} {glyphs.plus_minus} {significant(interval)}"
    decimals = max(0, _decimals(largest, 4))
    return f"{mean:,.{decimals}f} {glyphs.plus_minus} {interval:,.{decimals}f}"


def sparkline(values: Sequence[float], width: int, glyphs: Glyphs) -> str:
    """Return `values` as a line of at most `width` levels; several values share a level as their mean."""
    buckets = _buckets([value for value in values if math.isfinite(value)], width)
    if not buckets:
        return ""
    low, high = min(buckets), max(buckets)
    top = len(glyphs.levels) - 1
    if high <= low:
        return glyphs.levels[top // 2] * len(buckets)
    return "".join(glyphs.levels[round((value - low) / (high - low) * top)] for value in buckets)


def _buckets(values: Sequence[float], width: int) -> list[float]:
    total = len(values)
    if total <= width:
        return list(values)
    edges = [index * total // width for index in range(width + 1)] if width > 0 else []
    return [sum(values[start:end]) / (end - start) for start, end in itertools.pairwise(edges)]


def _decimals(number: float, digits: int) -> int:
    return digits - 1 - math.floor(math.log10(abs(number))) if number else 0
