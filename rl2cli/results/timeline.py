"""What the clock said of a run: how long it took to get to a frame, how fast it was, and where the time went."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rl2cli.results.values import Row, finite

SHARES = ("environment", "policy", "learning", "other")
_STARTS = ("start", "resume")
QUIET_EVENTS = ("speed", "checkpoint", "evaluation", "first_update")
"""What belongs to every run and is shown in other ways."""


@dataclass
class Timeline:
    """Read from timings.jsonl.

    A run that was resumed goes on at the time at which it had reached the checkpoint: neither the pause nor the work
    that was lost counts.
    """

    frames: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Time spent until each of `frames`."""
    speeds: list[tuple[float, float]] = field(default_factory=list)
    """Frames, and the frames per second then."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Part of the time that each activity took; their sum is 1. Empty where nothing was measured."""
    events: list[Row] = field(default_factory=list)

    @property
    def total_seconds(self) -> float | None:
        """Time of the whole run; None where the record does not say."""
        return self.seconds[-1] if len(self.seconds) > 1 else None

    def seconds_at(self, frames: float) -> float | None:
        """Return the time spent until `frames`, between two records in proportion; None outside of them."""
        at = bisect.bisect_left(self.frames, frames)
        if at < len(self.frames) and self.frames[at] == frames:
            return self.seconds[at]
        if not 0 < at < len(self.frames):
            return None
        part = (frames - self.frames[at - 1]) / (self.frames[at] - self.frames[at - 1])
        return self.seconds[at - 1] + part * (self.seconds[at] - self.seconds[at - 1])


def read_timeline(rows: Iterable[Row], most_events: int = 1000) -> Timeline:
    """Return what the rows of timings.jsonl say."""
    timeline, spent = Timeline(), dict.fromkeys(SHARES, 0.0)
    offset: float | None = None
    last = 0.0
    for row in rows:
        event, now, frames = row.get("event"), finite(row.get("time")), float(row["frames"])
        if not isinstance(event, str) or now is None:
            continue
        if event in _STARTS or offset is None:
            offset = now - _cut_back(timeline, frames)
            last = now
        _add(timeline, frames, now - offset)
        if event == "speed":
            _add_speed(timeline, spent, row, now - last)
            last = now
        elif event not in QUIET_EVENTS and len(timeline.events) < most_events:
            timeline.events.append(row)
    total = sum(spent.values())
    timeline.shares = {key: value / total for key, value in spent.items()} if total > 0 else {}
    return timeline


def _cut_back(timeline: Timeline, frames: float) -> float:
    """Forget what was after `frames`, which a resumed run does again; return the time spent until there."""
    reached = timeline.seconds_at(frames)
    if reached is None:
        reached = timeline.seconds[-1] if timeline.seconds and frames > timeline.frames[-1] else 0.0
    keep = bisect.bisect_left(timeline.frames, frames)
    del timeline.frames[keep:], timeline.seconds[keep:]
    timeline.speeds = [speed for speed in timeline.speeds if speed[0] < frames]
    return reached


def _add(timeline: Timeline, frames: float, seconds: float) -> None:
    """Add a point; of several at one frame the last counts, and a clock that was set back adds nothing."""
    if timeline.frames and frames == timeline.frames[-1]:
        timeline.seconds[-1] = max(timeline.seconds[-1], seconds)
    elif not timeline.frames or (frames > timeline.frames[-1] and seconds >= timeline.seconds[-1]):
        timeline.frames.append(frames)
        timeline.seconds.append(seconds)


def _add_speed(timeline: Timeline, spent: dict[str, float], row: Row, seconds: float) -> None:
    speed = finite(row.get("frames_per_second"))
    if speed is not None:
        timeline.speeds.append((float(row["frames"]), speed))
    parts = {key: finite(row.get(key)) for key in SHARES}
    for key, part in parts.items():
        if part is not None and 0 <= part <= 1 and seconds > 0:
            spent[key] += part * seconds
