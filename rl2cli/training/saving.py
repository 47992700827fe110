"""When a run is saved, and what happens where the disk refuses: training goes on, or stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from rl2cli.errors import StorageError
from rl2cli.reporting.progress import Evaluation
from rl2cli.reporting.view import View
from rl2cli.segment import Segment
from rl2cli.training.checkpoint import CheckpointStore
from rl2cli.training.journal import Journal

OnStorageError: TypeAlias = Literal["continue", "stop"]
Content: TypeAlias = tuple[dict[str, Any], Sequence[Segment]]
"""A state, and its segments."""


class Saver:
    """Saves one run's checkpoints, each with the metrics that belong to it.

    Args:
        store: Where checkpoints go.
        journal: Has the metrics.
        view: Told about a disk that refuses, once until it works again.
        metadata: What every checkpoint carries besides the state.
        on_storage_error: Whether a save that the disk refuses stops the run.
    """

    def __init__(
        self,
        store: CheckpointStore,
        journal: Journal,
        view: View,
        metadata: dict[str, Any],
        on_storage_error: OnStorageError = "continue",
    ) -> None:
        self.store, self.journal, self.view = store, journal, view
        self.metadata, self.on_storage_error = metadata, on_storage_error
        self.tried_frames: int | None = None
        """Frames of the last save, whatever became of it."""
        self.best: Evaluation | None = None
        """The best evaluation whose policy is on the disk."""
        self.error: StorageError | None = None
        """Why the last save is not on the disk; None where it is, or is on its way there."""
        self._pending: Evaluation | None = None
        self._is_pending = False

    def save(
        self, frames: int, content: Callable[[], Content], best: Evaluation | None, *, supersede: bool = False
    ) -> None:
        """Copy what `content` returns, which is then written beside training; `best` is the best evaluation so far.

        Where there is a checkpoint of these frames, `supersede` puts this one in its place.

        Raises:
            StorageError: The disk refused this save or the one before, and that is to stop the run.
        """
        self.settle()
        self.tried_frames = frames
        is_best = best is not None and best.frames == frames
        try:
            metadata = self.metadata | self.journal.commit()
            state, segments = content()
            mean = best.mean_return if is_best and best is not None else None
            self.store.save(
                frames,
                state,
                metadata,
                best=is_best,
                evaluation_mean=mean,
                segments=segments,
                supersede=supersede,
                before=self.journal.sync,
            )
        except StorageError as error:
            self._refused(error)
        else:
            self._pending, self._is_pending = best, True
            self.journal.event("checkpoint", frames)

    def settle(self) -> bool:
        """Wait for the last save, and return whether it is on the disk.

        Raises:
            StorageError: The disk refused it, and that is to stop the run.
        """
        if self._is_pending:
            try:
                self.store.wait()
            except StorageError as error:
                self._is_pending = False
                self._refused(error)
            else:
                self._is_pending = False
                self._saved()
        return self.error is None

    def on_disk(self) -> str:
        """Return in words what there is to resume from."""
        try:
            present = self.store.list()
        except StorageError:
            return "what is saved cannot be listed"
        return f"the newest checkpoint on the disk is that of frame {present[-1]:,}" if present else "nothing is saved"

    def _saved(self) -> None:
        self.best = self._pending
        if self.error is not None:
            self.view.message(f"the disk works again: frame {self.tried_frames:,} is saved")
        self.error = None

    def _refused(self, error: StorageError) -> None:
        is_new, self.error = self.error is None, error
        self.journal.event("save failed", self.tried_frames or 0, error=error.message)
        if self.on_storage_error == "stop":
            raise error
        if is_new:
            advice = f" ({error.hint})" if error.hint else ""
            text = f"{error.message}{advice}; training goes on and saves again at the next checkpoint; {self.on_disk()}"
            self.view.message(text, warning=True)
