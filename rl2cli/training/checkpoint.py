"""Checkpoints of a run: saved beside training, committed in one step, verified when they are loaded.

`checkpoint_format` has the files of one checkpoint, `checkpoint_folder` what lies on the disk, `checkpoint_writer`
the commit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from rl2cli.errors import NoCheckpointError, StorageError
from rl2cli.segment import Segment
from rl2cli.training.checkpoint_folder import Checkpoint, CheckpointFolder
from rl2cli.training.checkpoint_format import BestRecord, DamagedError, Snapshot
from rl2cli.training.checkpoint_writer import CheckpointWriter
from rl2cli.training.state_tree import JsonValue

__all__ = ["BestRecord", "Checkpoint", "CheckpointStore"]

_Notes: TypeAlias = list[str]


class CheckpointStore:
    """The `checkpoints` folder of a run; keeps the newest `keep` checkpoints and the best one.

    One writer per folder (the run folder's lock sees to that). With `read_only` nothing is ever written or renamed.

    Raises:
        StorageError: the folder cannot be made or cleaned.
    """

    def __init__(self, folder: Path, keep: int = 3, *, read_only: bool = False) -> None:
        self.read_only = read_only
        self.warnings: list[str] = []
        """Every checkpoint that could not be loaded so far, in words."""
        self._folder = CheckpointFolder(folder)
        self._writer = CheckpointWriter(self._folder, keep)
        if not read_only:
            self._writer.open()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rl2-checkpoint")
        self._pending: Future[None] | None = None
        self._best = self._folder.recorded_best()

    def save(
        self,
        frames: int,
        state: Mapping[str, object],
        metadata: Mapping[str, JsonValue],
        *,
        best: bool = False,
        evaluation_mean: float | None = None,
        segments: Sequence[Segment] = (),
        supersede: bool = False,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Copy the state now, hash and write it beside training; `best` makes it the best checkpoint.

        Tensors of `segments` are not copied: they must never change. A segment whose `sha256` is known is on the disk
        and is only named. A checkpoint that exists and is valid is left as it is, unless this one is to `supersede` it.
        `before` is called first, beside training; a `StorageError` of it is one of the save.

        Raises:
            StorageError: the disk refused the save before; that of this one comes with the next `save` or `wait`.
            TypeError: the state holds something that cannot be saved; the message says where.
        """
        if self.read_only:
            raise StorageError("these checkpoints were opened for reading only", hint="open them without read_only")
        self.wait()
        snapshot = Snapshot.take(frames, state, metadata)
        if best:
            finite = evaluation_mean is not None and math.isfinite(evaluation_mean)
            self._best = BestRecord(frames, float(evaluation_mean) if evaluation_mean is not None and finite else None)
        best_record = self._best

        def write() -> None:
            before()
            self._writer.write(snapshot, list(segments), best_record, supersede)

        self._pending = self._thread.submit(write)

    def wait(self) -> None:
        """Return when the last save is on the disk.

        Raises:
            StorageError: the disk refused it; earlier checkpoints are intact.
        """
        if self._pending is None:
            return
        error = self._pending.exception()  # an interrupt while this waits leaves the save pending
        self._pending = None
        if error is not None:
            self._best = self._folder.recorded_best()
            raise error

    def close(self) -> None:
        """Wait for the last save, and end the writing thread.

        Raises:
            StorageError: the disk refused the last save.
        """
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def list(self) -> Sequence[int]:
        """Return the frame numbers of all checkpoints, ascending; whether one is valid shows when it is loaded."""
        self.wait()
        return self._folder.list_frames()

    def best_record(self) -> BestRecord | None:
        """Return which checkpoint is the best so far, None before the first evaluation."""
        return self._best

    def newest(self, *, segments: bool = True) -> Checkpoint:
        """Load the newest valid checkpoint; damaged ones are renamed aside and named in its notes.

        Raises:
            NoCheckpointError: there is none.
            UsageError: a newer rl2 wrote it.
        """
        notes: list[str] = []
        tried: set[int] = set()
        while remaining := [frames for frames in self.list() if frames not in tried]:
            tried.add(remaining[-1])
            checkpoint = self._try_load(remaining[-1], segments, notes)
            if checkpoint is not None:
                return checkpoint
        message = "; ".join(["the run has no checkpoint that can be loaded", *notes])
        run = self._folder.path.parent
        anew = f"if the run goes on, wait for its first; else train it anew: rl2 train {run / 'resolved.toml'}"
        hint = f"`rl2 doctor {run}` says what is there" if notes else anew
        raise NoCheckpointError(message, hint=hint, place=str(self._folder.path))

    def best(self, *, segments: bool = True) -> Checkpoint:
        """Load the checkpoint with the best evaluation, or the newest valid one where there is none (see its notes).

        Raises:
            NoCheckpointError: there is no valid checkpoint.
            UsageError: a newer rl2 wrote it.
        """
        self.wait()
        notes: list[str] = []
        record = self._folder.recorded_best()
        checkpoint = self._try_load(record.frames, segments, notes) if record else None
        if checkpoint is None:
            checkpoint = self.newest(segments=segments)
            notes.append(f"there is no best checkpoint to load; the newest, {checkpoint.frames}, is used")
            checkpoint.notes[:0] = notes
        return checkpoint

    def at(self, frames: int, *, segments: bool = True) -> Checkpoint:
        """Load the checkpoint of exactly this frame number.

        Raises:
            NoCheckpointError: there is none, or it is damaged.
            UsageError: a newer rl2 wrote it.
        """
        notes: list[str] = []
        present = self.list()
        checkpoint = self._try_load(frames, segments, notes) if frames in present else None
        if checkpoint is not None:
            return checkpoint
        others = ", ".join(str(other) for other in present if other != frames)
        raise NoCheckpointError(
            "; ".join([f"no checkpoint of frame {frames} can be loaded", *notes]),
            hint=f"there are checkpoints of {others}" if others else "there are no others",
            place=str(self._folder.path),
        )

    def _try_load(self, frames: int, segments: bool, notes: _Notes) -> Checkpoint | None:
        """Load a checkpoint, or say in `notes` why it is not used, moving a damaged one aside."""
        try:
            checkpoint = self._folder.load(frames, segments=segments)
        except DamagedError as error:
            if self.read_only and not self._folder.checkpoint(frames).exists():
                return None  # the run goes on in another process, and has collected it
            self._note(notes, f"checkpoint {frames} is damaged ({error}){self._moved_aside(frames)}")
            return None
        except (OSError, MemoryError) as error:
            self._note(notes, f"checkpoint {frames} cannot be read ({error or type(error).__name__})")
            return None
        checkpoint.notes[:0] = notes
        return checkpoint

    def _moved_aside(self, frames: int) -> str:
        if self.read_only:
            return ""
        aside = self._writer.rename_aside(frames)
        self._best = self._folder.recorded_best()
        return f" and was renamed to {aside.name}" if aside else " and could not be renamed"

    def _note(self, notes: _Notes, text: str) -> None:
        notes.append(text)
        self.warnings.append(text)
