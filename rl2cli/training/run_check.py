"""What of a run can be gone on with: every checkpoint verified, and the record as long as they say. Changes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from rl2cli.durable import open_regular
from rl2cli.errors import RL2Error
from rl2cli.training.checkpoint_folder import Checkpoint, CheckpointFolder
from rl2cli.training.checkpoint_format import BestRecord, DamagedError, Manifest
from rl2cli.training.checkpoint_writer import DAMAGED
from rl2cli.training.run_folder import RunFolder

_MOST_ASIDE = 100


@dataclass(frozen=True)
class CheckedCheckpoint:
    """A checkpoint, and what is wrong with it."""

    frames: int
    path: Path
    damage: str | None = None
    """Why it cannot be loaded, with the file's name; None where it can."""
    problems: list[str] = field(default_factory=list)
    """What is amiss though it can be loaded."""
    is_exact: bool = False
    """Whether the episodes that were running are in it."""
    num_bytes: int = 0
    """Of its files and segments."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.damage is None and not self.problems


@dataclass(frozen=True)
class RunCheck:
    """What `check_run` found."""

    checkpoints: list[CheckedCheckpoint]
    """By frames, ascending."""
    best: BestRecord | None
    aside: list[str]
    """Names of damaged checkpoints that were moved aside before."""

    @property
    def resumes_from(self) -> CheckedCheckpoint | None:
        """The checkpoint that `rl2 resume` would go on from."""
        return next((each for each in reversed(self.checkpoints) if each.damage is None), None)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with the last checkpoint."""
        return bool(self.checkpoints) and self.checkpoints[-1].is_good


def check_run(folder: RunFolder) -> RunCheck:
    """Verify every checkpoint of a run, its segments, and that the record has what belongs to each.

    Raises:
        StorageError: The folder cannot be read.
    """
    checkpoints = CheckpointFolder(folder.checkpoints)
    found = [_check(checkpoints, frames, folder.metrics) for frames in checkpoints.list_frames()]
    # One that is gone by now was collected by the process that goes on with the run.
    present = [each for each in found if each.is_good or each.path.exists()]
    return RunCheck(present, checkpoints.recorded_best(), _moved_aside(folder.checkpoints))


def _check(folder: CheckpointFolder, frames: int, metrics: Path) -> CheckedCheckpoint:
    path = folder.checkpoint(frames)
    try:
        checkpoint = folder.load(frames, segments=True)
        num_bytes = _size(path)
    except (DamagedError, OSError, MemoryError, RL2Error) as error:
        reason = error.message if isinstance(error, RL2Error) else str(error) or type(error).__name__
        return CheckedCheckpoint(frames, path, reason)
    problems = [*filter(None, [_record_problem(checkpoint, metrics)]), *checkpoint.notes]
    return CheckedCheckpoint(frames, path, None, problems, _is_exact(checkpoint), num_bytes)


def _is_exact(checkpoint: Checkpoint) -> bool:
    collector = checkpoint.state.get("collector")
    return isinstance(collector, dict) and collector.get("environments") is not None


def _size(path: Path) -> int:
    manifest = Manifest.read(path)
    return sum(stamp.size for stamp in (*manifest.files.values(), *dict.fromkeys(manifest.segments)))


def _record_problem(checkpoint: Checkpoint, metrics: Path) -> str | None:
    """Return what is amiss with the record up to where it was when the checkpoint was made."""
    offset = checkpoint.metadata.get("metrics_offset")
    if type(offset) is not int or offset < 0:
        return "it does not say how long metrics.jsonl was"
    try:
        with open_regular(metrics, os.O_RDONLY) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, min(offset, size) - 1))
            last = file.read(1)
    except OSError as error:
        return f"metrics.jsonl cannot be read: {error.strerror or error}"
    if size < offset:
        return f"metrics.jsonl has {size} bytes; {offset} were written: its last rows are lost"
    return None if last == b"\n" or not offset else f"metrics.jsonl was changed: byte {offset} does not end a line"


def _moved_aside(folder: Path) -> list[str]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(DAMAGED))
    except OSError:
        return []
    return names[:_MOST_ASIDE]
