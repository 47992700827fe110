"""Where the rows of a replay buffer go: one ring per environment, in which a row's successor is the next row."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


class Placement(NamedTuple):
    """Rows that a rollout goes to; a row is its position in the ring × N + its environment."""

    rows: Array
    """[M] int64, of the observations that are kept: those of frames, then that of the row which comes next."""
    kept: Array | None
    """[T+1, N] bool, True M times, where they are in the rollout; None where all are kept."""
    frames: Array
    """[F] int64, of the frames."""
    kept_frames: Array | None
    """[T, N] bool, True F times; None where all are kept."""
    finals: Array
    """[K] int64, of the final observations that are kept."""
    kept_finals: Array | None
    """[K'] bool, True K times; None where all are kept."""


class Ring:
    """Positions in N rings of `length` rows, and which of these are frames that can be sampled.

    An episode's final observation takes a row after its last frame. The observation after the newest frame lies in
    the row that is written next.
    """

    def __init__(self, num_envs: int, length: int) -> None:
        self.num_envs, self.length = num_envs, length
        self.written = np.zeros(num_envs, np.int64)
        """[N]: rows written so far, the one of the next observation not counted."""
        self.is_open = np.zeros(num_envs, np.bool_)
        """[N]: the newest row is a frame whose next observation lies in the row after it."""
        self.is_frame = np.zeros(num_envs * length, np.bool_)
        """[N * length]: the row can be sampled."""
        self.num_frames = 0
        self._columns = np.arange(num_envs)

    @property
    def num_used(self) -> int:
        """Number of rows among which all frames are: the first so many."""
        return min(int(self.written.max()), self.length) * self.num_envs

    def place(self, done: Array, valid: Array, is_init: Array) -> Placement:
        """Take rows for a rollout, whose flags are `done` and `valid` [T, N] and, of its first step, `is_init` [N]."""
        length = len(done)
        starts = done | ~valid  # [T, N], of the step after
        present = np.concatenate([valid, ~starts[-1:]])  # [T+1, N]
        size = present.astype(np.int64)
        size[:-1] += done
        size[0] += is_init & self.is_open  # broken off: the next observation stays as the end of its episode
        end = size.cumsum(0)
        offset = end - present
        offset[:-1] -= done
        advance = end[-1] - present[-1]
        placement = self._placement(offset, present, done, advance)
        self.written += advance
        self.is_open = present[length]
        self._mark(placement)
        return placement

    def _placement(self, offset: Array, present: Array, done: Array, advance: Array) -> Placement:
        """Return the rows at `offset` [T+1, N] from the last ones; of more than a ring holds, only the newest."""
        finals = done.nonzero()
        final_offset = offset[finals] + 1
        kept_finals = None
        if advance.max() >= self.length:
            present = present & (offset > advance - self.length)
            kept_finals = final_offset > (advance - self.length)[finals[1]]
        rows = (self.written + offset) % self.length * self.num_envs + self._columns  # [T+1, N]
        final_rows = (self.written[finals[1]] + final_offset) % self.length * self.num_envs + finals[1]
        frames, kept, kept_frames = rows[:-1], None, None
        if not present.all():
            rows, kept = rows[present], present
            frames, kept_frames = frames[present[:-1]], present[:-1]
        if kept_finals is not None:
            final_rows = final_rows[kept_finals]
        return Placement(rows.ravel(), kept, frames.ravel(), kept_frames, final_rows, kept_finals)

    def _mark(self, placement: Placement) -> None:
        for rows in (placement.rows, placement.finals):
            self.num_frames -= int(np.count_nonzero(self.is_frame[rows]))
            self.is_frame[rows] = False
        self.is_frame[placement.frames] = True
        self.num_frames += len(placement.frames)
