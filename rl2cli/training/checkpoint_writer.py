"""Writing checkpoints: committed in one step, then the old ones collected. Runs beside training."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rl2cli.durable import explained, fsync_folder, make_folder, write_new_file, write_text_atomic
from rl2cli.errors import StorageError, UsageError
from rl2cli.segment import Segment
from rl2cli.training.checkpoint_folder import BEST_FILE, CheckpointFolder
from rl2cli.training.checkpoint_format import (
    SEGMENTS_FOLDER,
    BestRecord,
    DamagedError,
    Manifest,
    Snapshot,
    Stamp,
    pack_tensors,
)

_SAVING, _REMOVING, _SUPERSEDED = ".saving-", ".removing-", ".superseded-"
DAMAGED = "damaged-"
"""Begins the name of a damaged checkpoint that was moved aside."""
_SEGMENT_FILE = re.compile(r"[0-9a-f]{64}\.safetensors")


class CheckpointWriter:
    """The only one that changes a `checkpoints` folder."""

    def __init__(self, folder: CheckpointFolder, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        self._named: dict[int, frozenset[str]] = {}

    def open(self) -> None:
        """Make the folders, and put right what a killed save left in them.

        Raises:
            StorageError: the disk refused, or a link leads elsewhere.
        """
        segments = self.folder.path / SEGMENTS_FOLDER
        with explained("opening the checkpoints"):
            for folder in (self.folder.path, segments):
                if folder.is_symlink():
                    hint = "put the folder itself in its place"
                    raise StorageError("checkpoints are not written through a link", hint=hint, place=str(folder))
                make_folder(folder)
                for name in os.listdir(folder):
                    if name.startswith(_SUPERSEDED):
                        self._put_back(folder / name)
                    if name.startswith((_SAVING, _REMOVING, f".{BEST_FILE}.")):
                        _remove(folder / name)

    def write(
        self, snapshot: Snapshot, segments: Sequence[Segment], best: BestRecord | None, supersede: bool = False
    ) -> None:
        """Write one checkpoint unless a valid one of its frame number exists; `best` is the best one, this included.

        With `supersede` it takes the place of one that exists.

        Raises:
            StorageError: the disk refused; earlier checkpoints are intact and nothing half-written is left.
        """
        with explained(f"saving the checkpoint of frame {snapshot.frames}"):
            if supersede or not self._is_valid(snapshot.frames):
                stamps = [self._write_segment(segment) for segment in segments]
                self._commit(snapshot, stamps, best)
            if best is not None and best.frames == snapshot.frames:
                write_text_atomic(self.folder.path / BEST_FILE, json.dumps(vars(best)) + "\n")
            self._collect({snapshot.frames, *([best.frames] if best else [])})

    def rename_aside(self, frames: int) -> Path | None:
        """Take a damaged checkpoint out of the way, keeping its files; return its new path, None if that failed."""
        path = self.folder.checkpoint(frames)
        self._named.pop(frames, None)
        for count in range(1, 1000):
            aside = path.with_name(f"{DAMAGED}{path.name}-{count}")
            if not aside.exists():
                with suppress(OSError):
                    return path.rename(aside)
                return None
        return None

    def _is_valid(self, frames: int) -> bool:
        if not os.path.lexists(self.folder.checkpoint(frames)):
            return False
        try:
            self.folder.load(frames, segments=True)
        except DamagedError:
            self.rename_aside(frames)
            return False
        return True

    def _commit(self, snapshot: Snapshot, segments: Sequence[Stamp], best: BestRecord | None) -> None:
        final = self.folder.checkpoint(snapshot.frames)
        self._named.pop(snapshot.frames, None)
        temporary = final.with_name(_SAVING + final.name)
        superseded = final.with_name(_SUPERSEDED + final.name)
        _remove(temporary)
        temporary.mkdir()
        try:
            snapshot.write(temporary, segments, best)
            if os.path.lexists(final):
                os.rename(final, superseded)
            os.rename(temporary, final)
        except BaseException:
            _remove(temporary)
            self._put_back(superseded)
            raise
        fsync_folder(self.folder.path)
        _remove(superseded)

    def _put_back(self, superseded: Path) -> None:
        """Give a superseded checkpoint its name again, unless what was to supersede it is there."""
        final = superseded.with_name(superseded.name.removeprefix(_SUPERSEDED))
        if os.path.lexists(superseded) and not os.path.lexists(final):
            with suppress(OSError):
                os.rename(superseded, final)
        _remove(superseded)

    def _write_segment(self, segment: Segment) -> Stamp:
        """Put the segment on the disk unless it is there, and return its stamp."""
        if segment.sha256 is not None:
            path = self.folder.segment(segment.sha256)
            if path.is_file() and not path.is_symlink():
                return Stamp(path.stat().st_size, segment.sha256)
        if segment.tensors is None:
            raise StorageError(
                "a segment is not on the disk any more",
                hint=f"something removed it; `rl2 doctor {self.folder.path.parent}` says which checkpoints are whole",
                place=f"{SEGMENTS_FOLDER}/{segment.sha256}",
            )
        content = pack_tensors(segment.tensors)
        stamp = Stamp.of(content)
        self._write_segment_file(self.folder.segment(stamp.sha256), content)
        segment.sha256 = stamp.sha256
        return stamp

    def _write_segment_file(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(_SAVING + path.name)
        _remove(temporary)
        try:
            write_new_file(temporary, content)
            os.replace(temporary, path)
        except BaseException:
            _remove(temporary)
            raise
        fsync_folder(path.parent)

    def _collect(self, protected: set[int]) -> None:
        """Remove all checkpoints but the newest and the protected ones, and then the segments that none names."""
        present = self.folder.list_frames()
        for frames in present[: -self.keep]:
            if frames not in protected:
                path = self.folder.checkpoint(frames)
                # Renamed first, so that one that is half removed is never taken for a checkpoint.
                aside = path.with_name(_REMOVING + path.name)
                _remove(aside)
                os.rename(path, aside)
                _remove(aside)
        self._collect_segments()

    def _collect_segments(self) -> None:
        folder = self.folder.path / SEGMENTS_FOLDER
        present = [name for name in os.listdir(folder) if _SEGMENT_FILE.fullmatch(name)]
        if not present:
            return
        try:
            named = {name for frames in self.folder.list_frames() for name in self._segments_of(frames)}
        except (DamagedError, UsageError, OSError):
            return  # it may be readable later, so what it may name stays
        for name in present:
            if name not in named:
                (folder / name).unlink(missing_ok=True)

    def _segments_of(self, frames: int) -> frozenset[str]:
        """Return the segments that a checkpoint names, read once until another takes its place."""
        if frames not in self._named:
            stamps = Manifest.read(self.folder.checkpoint(frames)).segments
            self._named[frames] = frozenset(self.folder.segment(stamp.sha256).name for stamp in stamps)
        return self._named[frames]


def _remove(path: Path) -> None:
    """Remove a file or a folder, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
