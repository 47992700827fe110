"""The one reader of run folders. What it reads is data from anywhere: bounded, tolerated, never trusted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from rl2cli.durable import read_regular
from rl2cli.errors import RL2Error
from rl2cli.results.curve import Curve, curve
from rl2cli.results.timeline import Timeline, read_timeline
from rl2cli.results.values import MAX_RECORD_BYTES, Row, finite, last_frames, number, rows, table, text, whole
from rl2cli.text import printable
from rl2cli.training.run_folder import CHECKPOINT_NAME, RunFolder, RunState, read_json, started_at

EVALUATION = "evaluation/mean_return"
TRAINING_RETURN = "rollout/return_mean"
_MAX_TEXT_FILE = 2**20
_MOST_METRICS = 200


class Best(NamedTuple):
    """The best evaluation of a run."""

    frames: int
    mean_return: float


class RunRecord:
    """What the folder of a run says. A file is read when something of it is asked for, and then once.

    Raises:
        UsageError: there is no run in this folder.
    """

    def __init__(self, path: Path) -> None:
        self.folder = RunFolder.open(path)
        self.path = self.folder.path

    @cached_property
    def state(self) -> RunState:
        """What became of it."""
        return self.folder.state(self.summary)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """How its last session ended, from summary.json; empty where there is none."""
        return read_json(self.folder.summary)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Versions, machine, command and choices, from run.json."""
        return read_json(self.folder.run_json)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every effective setting, from resolved.toml; empty where that cannot be read."""
        from rl2cli.spec.toml import parse

        try:
            return parse(self._bytes_of("resolved.toml"), "resolved.toml")
        except RL2Error:
            return {}

    @cached_property
    def metrics(self) -> list[Row]:
        """The rows of metrics.jsonl that can be read."""
        return list(rows(self.folder.metrics))

    @property
    def is_too_long(self) -> bool:
        """Whether metrics.jsonl has more than is read of it."""
        try:
            return self.folder.metrics.stat().st_size > MAX_RECORD_BYTES
        except OSError:
            return False

    @cached_property
    def timeline(self) -> Timeline:
        """What timings.jsonl says."""
        return read_timeline(rows(self.folder.timings))

    @property
    def name(self) -> str:
        """The run's name."""
        return text(self.settings.get("name")) or text(self.facts.get("name")) or printable(self.path.absolute().name)

    @property
    def environment(self) -> str:
        """The environment's id, or its backend's name where it has none."""
        env = table(self.settings.get("env"))
        return text(env.get("id")) or text(env.get("backend"), "?")

    @property
    def algorithm(self) -> str:
        """The algorithm's name."""
        return text(table(self.settings.get("algorithm")).get("name"), "?")

    @property
    def network(self) -> str:
        """The network's name."""
        return text(table(self.settings.get("network")).get("name"), "?")

    @property
    def seed(self) -> int | None:
        """The run's seed."""
        return whole(self.settings.get("seed", self.facts.get("seed")))

    @cached_property
    def started(self) -> datetime | None:
        """When it started, in UTC; None where nothing says so."""
        stamp = started_at(self.path)
        return None if stamp == datetime.min.replace(tzinfo=UTC) else stamp

    @property
    def total_frames(self) -> int | None:
        """Frames it was to have, as far as a summary or the settings say."""
        total = whole(self.summary.get("total_frames"))
        return total if total is not None else whole(self.settings.get("total_frames"))

    @cached_property
    def frames(self) -> int | None:
        """Frames it has, by its record where it goes on or was killed, since the summary is of an earlier session."""
        summed = whole(self.summary.get("frames"))
        if self.state in ("running", "killed", "unknown") or summed is None:
            recorded = last_frames(self.folder.metrics)
            return recorded if recorded is not None else summed
        return summed

    @cached_property
    def best(self) -> Best | None:
        """The best evaluation, from the summary of a run that ended and the record of one that did not."""
        best = table(self.summary.get("best"))
        frames, mean = whole(best.get("frames")), finite(best.get("mean_return"))
        if self.state not in ("running", "killed", "unknown") and frames is not None and mean is not None:
            return Best(frames, mean)
        found = [
            Best(row["frames"], value) for row in self.evaluations if (value := finite(row["mean_return"])) is not None
        ]
        return max(found, key=lambda one: one.mean_return, default=None)

    @cached_property
    def evaluations(self) -> list[Row]:
        """The evaluations, their keys without `evaluation/`; each has a `mean_return`."""
        return [
            {key.removeprefix("evaluation/"): value for key, value in row.items()}
            for row in self.metrics
            if EVALUATION in row
        ]

    @property
    def seconds(self) -> float | None:
        """Time it took, over all of its sessions as far as they count; see `Timeline`."""
        total = self.timeline.total_seconds
        return total if total is not None else finite(self.summary.get("wall_seconds"))

    @property
    def frames_per_second(self) -> float | None:
        """Speed of training as the summary says, else that of the whole run."""
        speed, seconds = finite(self.summary.get("frames_per_second")), self.timeline.total_seconds
        if speed is not None and speed > 0 and self.state not in ("running", "killed"):
            return speed
        return self.frames / seconds if self.frames and seconds else None

    def metric_names(self) -> list[str]:
        """Return the metrics that have numbers, in the order in which they first appear."""
        names: dict[str, None] = {}
        for row in self.metrics:
            names |= {key: None for key, value in row.items() if key not in names and number(value) is not None}
            if len(names) > _MOST_METRICS:
                break
        return [name for name in names if name != "frames"][:_MOST_METRICS]

    def curve(self, metric: str) -> Curve:
        """Return a metric over frames; numbers that are not finite are gaps."""
        return curve(
            (float(row["frames"]), value) for row in self.metrics if (value := number(row.get(metric))) is not None
        )

    def checkpoints(self) -> list[int]:
        """Return the frame numbers of its checkpoints, whether they are whole or not."""
        return sorted(int(name) for name in _names_in(self.folder.checkpoints) if CHECKPOINT_NAME.fullmatch(name))

    def text_of(self, name: str) -> str:
        """Return a text file of the folder, without what could move a cursor; empty where it cannot be read."""
        return printable(self._bytes_of(name).decode("utf-8", "replace"), keep_newlines=True)

    def _bytes_of(self, name: str) -> bytes:
        try:
            return read_regular(self.path / name, _MAX_TEXT_FILE)[:_MAX_TEXT_FILE]
        except OSError:
            return b""


def _names_in(folder: Path) -> Iterator[str]:
    try:
        yield from [entry.name for entry in folder.iterdir() if len(entry.name) < 20]
    except OSError:
        return
