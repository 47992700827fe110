"""The `checkpoints` folder of a run as it lies on the disk: what is there, and loading it. Writes nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from rl2cli.durable import explained, read_regular
from rl2cli.errors import StorageError
from rl2cli.segment import Segment
from rl2cli.training.checkpoint_format import (
    SEGMENTS_FOLDER,
    BestRecord,
    DamagedError,
    Manifest,
    Stamp,
    folder_name,
    parse_best,
    parse_json,
    parse_tensors,
    read_state,
)
from rl2cli.training.run_folder import CHECKPOINT_NAME

BEST_FILE = "best.json"
_BEST_LIMIT = 4096


@dataclass(frozen=True)
class Checkpoint:
    """A run as it was after `frames` frames; its tensors are on the CPU."""

    frames: int
    path: Path
    state: dict[str, Any]
    metadata: dict[str, Any]
    segments: list[Segment] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the user should know: which checkpoints were damaged, and why another one is used."""


@dataclass(frozen=True)
class CheckpointFolder:
    """Names and content of a `checkpoints` folder."""

    path: Path

    def checkpoint(self, frames: int) -> Path:
        """Return where the checkpoint of this frame number lies, or would lie."""
        return self.path / folder_name(frames)

    def segment(self, sha256: str) -> Path:
        """Return where the segment with this hash lies, or would lie."""
        return self.path / SEGMENTS_FOLDER / f"{sha256}.safetensors"

    def list_frames(self) -> list[int]:
        """Return the frame numbers of all checkpoints, valid or not, ascending.

        Raises:
            StorageError: the folder cannot be read.
        """
        with explained("listing the checkpoints"):
            try:
                with os.scandir(self.path) as entries:
                    names = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
            except (FileNotFoundError, NotADirectoryError):
                return []
        frames = (int(name) for name in names if CHECKPOINT_NAME.fullmatch(name))
        return sorted(number for number in frames if folder_name(number) in names)

    def recorded_best(self) -> BestRecord | None:
        """Return the best checkpoint that is still there, from `best.json` and what the checkpoints themselves say.

        A save that is killed before it writes `best.json` has the new best in its manifest.
        """
        present = self.list_frames()
        recorded = self._best_file()
        known = None if recorded is None or recorded.frames not in present else recorded
        for frames in reversed(present):  # the newest that can be read knows best; there may be thousands
            with suppress(OSError, DamagedError):
                named = Manifest.read(self.checkpoint(frames)).best
                if named is None or named.frames in present:
                    return max((each for each in (known, named) if each), key=lambda each: each.frames, default=None)
        return known

    def load(self, frames: int, *, segments: bool) -> Checkpoint:
        """Load one checkpoint, with its segments if asked to, from bytes that were verified.

        Segments are verified now, and read (and verified once more) one by one when their content is asked for: a
        replay buffer is not in memory twice.

        Raises:
            DamagedError: a file of it is missing, malformed, or not as it was written.
            OSError: a file cannot be read.
            UsageError: a newer rl2 wrote it.
        """
        path = self.checkpoint(frames)
        manifest = Manifest.read(path)
        state, metadata = read_state(path, manifest)
        stamps = manifest.segments if segments else []
        for stamp in dict.fromkeys(stamps):
            stamp.verify(self.segment(stamp.sha256))
        kept = [Segment(sha256=stamp.sha256, read=partial(self._read_segment, stamp)) for stamp in stamps]
        return Checkpoint(frames, path, state, metadata, kept, _strangers(path, manifest))

    def _read_segment(self, stamp: Stamp) -> dict[str, Tensor]:
        path = self.segment(stamp.sha256)
        with explained("reading a checkpoint's segment"):
            try:
                return parse_tensors(stamp.read(path))
            except DamagedError as error:
                raise StorageError(
                    f"a segment changed after it was checked: {error}",
                    hint=f"something else writes there; `rl2 doctor {self.path.parent}` says what is still good",
                    place=str(path),
                ) from error

    def _best_file(self) -> BestRecord | None:
        try:
            return parse_best(parse_json(read_regular(self.path / BEST_FILE, _BEST_LIMIT), BEST_FILE))
        except (OSError, DamagedError):
            return None


def _strangers(path: Path, manifest: Manifest) -> list[str]:
    """Return a note for files that no save put there; they are never read, so they do no harm."""
    known = manifest.file_names()
    names = sorted(name for name in os.listdir(path) if name not in known and not name.startswith("."))
    return [f"checkpoint {manifest.frames} holds files that rl2 did not write: {', '.join(names)}"] if names else []
