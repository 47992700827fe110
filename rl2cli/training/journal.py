"""Everything a run writes down while it runs: metrics, timings, TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rl2cli.errors import StorageError
from rl2cli.reporting.progress import Evaluation
from rl2cli.reporting.record import RecordFile
from rl2cli.reporting.tensorboard import TensorBoardWriter, written_up_to
from rl2cli.reporting.video import preview_gif
from rl2cli.text import MOST_CHARACTERS, shortened
from rl2cli.training.run_folder import RunFolder

_TENSORBOARD = "tensorboard"


class Journal:
    """The record files of one run.

    `metrics.jsonl` holds only what the seed decides, so that two runs of one spec have the same bytes; wall clock and
    rates go to `timings.jsonl`. Where the disk refuses, what is to be written waits in memory until it does not, and
    training goes on; only `commit`, which a checkpoint needs, raises.

    Args:
        folder: The run's folder.
        tensorboard: Whether to write TensorBoard files.
        start_frames: Frames of the checkpoint the session goes on from.
        metrics_offset: Size of metrics.jsonl at that checkpoint, to which it is cut back; None for a new run.
        metrics_sha256: Its hash at that checkpoint; None where that is too old to say.
        warn: Tells the user that the disk refuses, once until it works again.

    Raises:
        StorageError: The files cannot be opened.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        tensorboard: bool,
        start_frames: int = 0,
        metrics_offset: int | None = None,
        metrics_sha256: str | None = None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.metrics = RecordFile(folder.metrics)
        self.timings = RecordFile(folder.timings)
        self._log = RecordFile(folder.log)
        self._warn = warn
        self._refused: set[str] = set()
        self.problem = None if metrics_offset is None else self._cut_back(metrics_offset, metrics_sha256)
        """What is wrong with metrics.jsonl up to the checkpoint."""
        self._tensorboard: TensorBoardWriter | None = None
        if tensorboard:
            written = written_up_to(folder.tensorboard, start_frames) if metrics_offset is not None else -1
            self._tensorboard = TensorBoardWriter(folder.tensorboard, written + 1)
            self._repeat_after(written)

    def _cut_back(self, offset: int, sha256: str | None) -> str | None:
        problem = self.metrics.truncate_to(offset)
        if problem is None and sha256 is not None and self.metrics.sha256() != sha256:
            return f"{self.metrics.path.name} was changed: its first {offset} bytes are not those that were written"
        return problem

    def _repeat_after(self, frames: int) -> None:
        """Give TensorBoard the rows of the record that a killed process did not get to write there."""
        for row in self.metrics.rows_after(frames):
            values = {key: float(value) for key, value in row.items() if isinstance(value, int | float | str)}
            self._scalars(int(values.pop("frames")), values)

    def iteration(self, frames: int, values: Mapping[str, float | int | None]) -> None:
        """Record the metrics as they are after an iteration."""
        self.metrics.append({"frames": frames, **values})
        self._scalars(frames, {key: value for key, value in values.items() if value is not None})

    def evaluation(self, evaluation: Evaluation) -> None:
        """Record an evaluation."""
        values = {
            "evaluation/mean_return": evaluation.mean_return,
            "evaluation/std_return": evaluation.std_return,
            "evaluation/episodes": evaluation.episodes,
            "evaluation/interval": evaluation.interval,
        }
        if evaluation.stochastic_mean is not None and evaluation.stochastic_std is not None:
            values["evaluation/stochastic_mean"] = evaluation.stochastic_mean
            values["evaluation/stochastic_std"] = evaluation.stochastic_std
        self.metrics.append({"frames": evaluation.frames, **values})
        self._scalars(evaluation.frames, values)

    def event(self, name: str, frames: int, **values: object) -> None:
        """Record something that happened, with the time of day; all but speeds are also a line of log.txt."""
        self.timings.append({"event": name, "time": time.time(), "frames": frames, **values})
        if name != "speed":
            details = "".join(f"  {key} {value}" for key, value in values.items())
            line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {frames:>12,} {name}{details}"
            self._log.append_line(shortened(line, MOST_CHARACTERS))

    def video(self, frames: int, path: Path, *, steps: int, total: float, ended: bool, seconds: float) -> None:
        """Record a video of `steps` steps and return `total`, in the run's folder, and show it in TensorBoard."""
        facts = {"file": f"{path.parent.name}/{path.name}", "steps": steps, "return": total, "ended": ended}
        self.event("video", frames, **facts, seconds=seconds)
        if self._tensorboard is not None:
            preview = preview_gif(path)
            with self._tolerant(_TENSORBOARD):
                self._tensorboard.gif(frames, "video/policy", preview)

    def speed(self, frames: int, values: Mapping[str, float], workers: Mapping[str, float] | None = None) -> None:
        """Record rates and shares of time, and how many workers there are, where there are any."""
        counts = {f"scale/{key}": value for key, value in (workers or {}).items()}
        self.event("speed", frames, **values, **counts)
        self._scalars(frames, {f"time/{key}": value for key, value in values.items()} | counts)

    def flush(self) -> None:
        """Write what waits, as far as the disk takes it."""
        for file in (self.metrics, self.timings, self._log):
            with self._tolerant(file.path.name):
                file.flush()

    def commit(self) -> dict[str, int | str]:
        """Write every metric so far, and return size and hash of metrics.jsonl, which a checkpoint keeps.

        Raises:
            StorageError: The disk refused; the metrics are kept for the next time.
        """
        self.flush()
        return {"metrics_offset": self.metrics.flush(), "metrics_sha256": self.metrics.sha256()}

    def sync(self) -> None:
        """Push every metric so far to the disk: before the checkpoint that counts on them, and beside training.

        Raises:
            StorageError: The disk refused.
        """
        self.metrics.sync()

    def close(self) -> None:
        """Write everything, as far as the disk takes it, and close the files."""
        for file in (self.metrics, self.timings, self._log):
            with self._tolerant(file.path.name):
                file.close()
        if self._tensorboard is not None:
            with self._tolerant(_TENSORBOARD):
                self._tensorboard.close()

    def _scalars(self, frames: int, values: Mapping[str, float | int]) -> None:
        if self._tensorboard is not None:
            with self._tolerant(_TENSORBOARD):
                self._tensorboard.scalars(frames, values)

    @contextmanager
    def _tolerant(self, name: str) -> Iterator[None]:
        """Go on where the disk refuses to take what belongs in the file `name`."""
        try:
            yield
        except StorageError as error:
            if name not in self._refused and self._refused <= {_TENSORBOARD}:
                self._warn(f"{error.message}; training goes on, and what is to be written is kept until it can be")
            self._refused.add(name)
        else:
            if name != _TENSORBOARD:  # which may just have kept a point
                self._refused.discard(name)
