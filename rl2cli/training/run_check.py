"""What of a run can be gone on with: every checkpoint verified, and the record as long as they say. Changes nothing."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from rl2cli.durable import open_regular
from rl2cli.errors import RL2Error
from rl2cli.training.checkpoint_folder import Checkpoint, CheckpointFolder
from rl2cli.training.checkpoint_format import BestRecord, DamagedError, Manifest
from rl2cli.training.checkpoint_writer import DAMAGED
from rl2cli.training.run_folder import RunFolder, read_json

_MOST_ASIDE = 100
_BLOCK = 2**20


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
    checkpoints, record = CheckpointFolder(folder.checkpoints), _Record(folder.metrics, _ended_at(folder))
    found = [_check(checkpoints, frames, record) for frames in checkpoints.list_frames()]
    # One that is gone by now was collected by the process that goes on with the run.
    present = [each for each in found if each.is_good or each.path.exists()]
    return RunCheck(present, checkpoints.recorded_best(), _moved_aside(folder.checkpoints))


def _check(folder: CheckpointFolder, frames: int, record: _Record) -> CheckedCheckpoint:
    path = folder.checkpoint(frames)
    try:
        checkpoint = folder.load(frames, segments=True)
        num_bytes = _size(path)
    except (DamagedError, OSError, MemoryError, RL2Error) as error:
        reason = error.message if isinstance(error, RL2Error) else str(error) or type(error).__name__
        return CheckedCheckpoint(frames, path, reason)
    problems = [*filter(None, [record.problem(checkpoint)]), *checkpoint.notes]
    return CheckedCheckpoint(frames, path, None, problems, _is_exact(checkpoint), num_bytes)


def _is_exact(checkpoint: Checkpoint) -> bool:
    collector = checkpoint.state.get("collector")
    return isinstance(collector, dict) and collector.get("environments") is not None


def _size(path: Path) -> int:
    manifest = Manifest.read(path)
    return sum(stamp.size for stamp in (*manifest.files.values(), *dict.fromkeys(manifest.segments)))


class _Record:
    """metrics.jsonl, of which each checkpoint says how long it was then, and its hash; read once for all of them."""

    def __init__(self, path: Path, ended_at: int | None) -> None:
        self._path, self._ended_at = path, ended_at
        self._digest, self._length = hashlib.sha256(), 0

    def problem(self, checkpoint: Checkpoint) -> str | None:
        """Return what is amiss with the record up to where it was when the checkpoint was made."""
        offset, sha256 = (checkpoint.metadata.get(name) for name in ("metrics_offset", "metrics_sha256"))
        if type(offset) is not int or offset < 0:
            return "it does not say how long metrics.jsonl was"
        try:
            with open_regular(self._path, os.O_RDONLY) as file:
                size = os.fstat(file.fileno()).st_size
                if size < offset:
                    return f"metrics.jsonl has {size} bytes; {offset} were written: its last rows are lost"
                if size > offset and checkpoint.frames == self._ended_at:
                    return f"metrics.jsonl has {size} bytes; {offset} were written: something was added"
                same = self._hash(file, offset) == sha256 if sha256 is not None else _ends_line(file, offset)
        except OSError as error:
            return f"metrics.jsonl cannot be read: {error.strerror or error}"
        return None if same else f"metrics.jsonl was changed: its first {offset} bytes are not those that were written"

    def _hash(self, file: BinaryIO, length: int) -> str:
        """Return the hash of the first bytes, going on from those that are hashed already."""
        if length < self._length:
            self._digest, self._length = hashlib.sha256(), 0
        file.seek(self._length)
        while self._length < length and (block := file.read(min(length - self._length, _BLOCK))):
            self._digest.update(block)
            self._length += len(block)
        return self._digest.hexdigest()


def _ended_at(folder: RunFolder) -> int | None:
    """Return the frames of a run that has ended, whose last checkpoint was made after the last row; else None."""
    summary = read_json(folder.summary)
    if folder.state(summary) not in ("finished", "target reached"):
        return None
    frames = summary.get("frames")
    return frames if type(frames) is int else None


def _ends_line(file: BinaryIO, offset: int) -> bool:
    file.seek(max(0, offset - 1))
    return not offset or file.read(1) == b"\n"


def _moved_aside(folder: Path) -> list[str]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(DAMAGED))
    except OSError:
        return []
    return names[:_MOST_ASIDE]
