"""Where the rows of a replay buffer go: one ring per environment, in which a row's successor is the next row."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


class Placement(NamedTuple):
    """Rows that a rollout goes to, and the cells they take it from: cell t × N + n is step t of environment n."""

    rows: Array
    """[M] int64, of the observations: those of frames, and the one after the newest frame."""
    cells: Array | None
    """[M] int64; None where these are all (T + 1) × N."""
    frames: Array
    """[F] int64, rows of the frames."""
    frame_cells: Array | None
    """[F] int64; None where these are all T × N."""
    finals: Array
    """[K] int64, rows of the episodes' final observations, in order."""
    heads: tuple[Array, Array]
    """Those observations whose older frames are not the rows before: [P × (stack - 1)] int64, rows for these older
    frames, oldest first, and [P] int64, the cells."""
    final_heads: tuple[Array, Array]
    """The same for final observations, whose cells are their numbers."""
    changed: Array
    """[C] int64, rows of which it changed whether they can be sampled, among them all of `frames`."""


class Ring:
    """N rings of `length` rows, and which rows are frames that can be sampled.

    A row is a position in the ring × N + an environment. An episode's final observation takes a row after its last
    frame; the observation after the newest frame lies in the row that is written next. Where observations are stacks,
    a row holds the newest frame of one and the rows before it the others; where it is no continuation of them, rows
    for its older frames, the prefix, go before it.

    Args:
        num_envs: N.
        length: Rows of each ring.
        stack: Frames of an observation; 1 where observations are not stacked.
    """

    def __init__(self, num_envs: int, length: int, stack: int = 1) -> None:
        self.num_envs, self.length, self.stack = num_envs, length, stack
        self.written = np.zeros(num_envs, np.int64)
        """[N]: rows written so far, without the one of the next observation."""
        self.is_open = np.zeros(num_envs, np.bool_)
        """[N]: the newest row is a frame, and the next row holds its next observation."""
        self.num_frames = 0
        self._columns = np.arange(num_envs)
        self._none = np.zeros(0, np.int64)

    @cached_property
    def is_frame(self) -> Array:
        """[N × length] bool: the row can be sampled; allocated when it is first asked for."""
        return np.zeros(self.size, np.bool_)

    @cached_property
    def is_prefix(self) -> Array:
        """[N × length] bool: the row holds an older frame of the next row that is none; empty unless stacked."""
        return np.zeros(self.size if self.stack > 1 else 0, np.bool_)

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.num_envs * self.length

    @property
    def num_used(self) -> int:
        """Number of rows among which all frames are: the first so many."""
        return min(int(self.written.max()), self.length) * self.num_envs

    @property
    def longest_rollout(self) -> int:
        """Steps that fit in the ring whatever happens in them."""
        return (self.length - self.stack - 1) // (2 * self.stack)

    # --- writing ---

    def place(
        self, done: Array, valid: Array, is_init: Array, breaks: Array | None = None, final_breaks: Array | None = None
    ) -> Placement:
        """Take rows for a rollout.

        Args:
            done: [T, N] bool.
            valid: [T, N] bool.
            is_init: [N] bool, of the first step.
            breaks: [T, N] bool, True where the next observation is not the stack moved up by one; None if unstacked.
            final_breaks: [K] bool, the same for final observations; None if unstacked.
        """
        count = np.count_nonzero  # three times as fast as `any` and `all`
        goes_on = count(self.is_open) == self.num_envs and not count(is_init) and count(valid) == valid.size
        if goes_on and not count(done) and (breaks is None or not count(breaks)):
            return self._continue(len(done))
        return self._place(done, valid, is_init, breaks, final_breaks)

    def _continue(self, length: int) -> Placement:
        """Take rows for a rollout in which nothing ends or begins."""
        rows, none = self._rows(np.arange(length + 1)[:, None]).ravel(), self._none
        self.written += length
        frames, changed = rows[: -self.num_envs], rows
        if self.stack > 1:
            changed = np.concatenate([frames, self._unusable()])
            self.is_prefix[changed] = False
        self._mark(frames, changed)
        return Placement(rows, None, frames, None, none, (none, none), (none, none), changed)

    def _place(
        self, done: Array, valid: Array, is_init: Array, breaks: Array | None, final_breaks: Array | None
    ) -> Placement:
        prefix = self.stack - 1
        begins = is_init | ~self.is_open | ~valid[0]  # the last for environments that were lost
        starts = np.concatenate([begins[None], done | ~valid])  # [T+1, N]
        present = np.concatenate([valid, ~starts[-1:]])  # [T+1, N]
        leads = starts & present if prefix else np.zeros_like(present)
        if breaks is not None:
            leads[1:] |= breaks & present[1:]
        final_leads = np.zeros_like(done)
        if final_breaks is not None:
            final_leads[done] = final_breaks
        before = prefix * leads
        before[0] += starts[0] & self.is_open  # broken off: the next observation stays, as the last of its episode
        after = done + prefix * final_leads
        size = before + present
        size[:-1] += after
        offset = size.cumsum(0) - present  # [T+1, N], of the observations
        offset[:-1] -= after
        rows, final_rows = self._rows(offset), self._rows(offset[:-1] + after)
        placement = self._placement(rows, present, leads, final_rows[done], final_leads[done])
        self.written += offset[-1]
        self.is_open = present[-1]
        return self._mark_all(placement)

    def _rows(self, offset: Array) -> Array:
        """Return the rows `offset` [*, N] rows on from the next one."""
        rows: Array = (self.written + offset) % self.length * self.num_envs + self._columns
        return rows

    def _placement(self, rows: Array, present: Array, leads: Array, finals: Array, final_leads: Array) -> Placement:
        is_whole = bool(present.all())
        cells = present.ravel().nonzero()[0]
        frames = rows[:-1][present[:-1]]
        return Placement(
            rows[present],
            None if is_whole else cells,
            frames,
            None if is_whole else cells[: len(frames)],
            finals,
            (self._rows_before(rows[leads]), leads.ravel().nonzero()[0]),
            (self._rows_before(finals[final_leads]), final_leads.nonzero()[0]),
            self._none,
        )

    def _rows_before(self, rows: Array) -> Array:
        """Return the `stack` - 1 rows before each of `rows` [P], one after another, oldest first."""
        back = np.arange(1 - self.stack, 0) * self.num_envs
        before: Array = ((rows[:, None] + back) % self.size).ravel()
        return before

    def _mark_all(self, placement: Placement) -> Placement:
        """Mark what was placed."""
        prefixes = np.concatenate([placement.heads[0], placement.final_heads[0]])
        changed = np.unique(np.concatenate([placement.rows, placement.finals, prefixes, self._unusable()]))
        self._mark(placement.frames, changed)
        if self.stack > 1:
            self.is_prefix[changed] = False
            self.is_prefix[prefixes] = True
        return placement._replace(changed=changed)

    def _unusable(self) -> Array:
        """Return the rows [N × stack] that are no frames: the next one, and the oldest, which lack older frames."""
        return self._rows(np.arange(self.stack)[:, None]).ravel()

    def _mark(self, frames: Array, changed: Array) -> None:
        self.num_frames += len(frames) - int(np.count_nonzero(self.is_frame[changed]))
        self.is_frame[changed] = False
        self.is_frame[frames] = True

    # --- state ---

    @property
    def oldest(self) -> Array:
        """[N]: the oldest rows that are left, counted as `written` counts."""
        oldest: Array = self.written - self.length + 1
        return oldest

    def rows_between(self, start: Array, end: Array) -> Array:
        """Return the rows written from `start` to before `end` [N], ring by ring, oldest first, [M] int64."""
        lengths = np.maximum(end - start, 0)
        columns = np.repeat(self._columns, lengths)
        first = np.repeat(lengths.cumsum() - lengths - start, lengths)
        rows: Array = (np.arange(len(columns)) - first) % self.length * self.num_envs + columns
        return rows

    def flags(self) -> dict[str, Array]:
        """Return the flags by name, [N × length] bool each."""
        return {"is_frame": self.is_frame} | ({"is_prefix": self.is_prefix} if self.stack > 1 else {})

    def settle(self) -> None:
        """Make the flags right after they were restored row by row."""
        self.is_frame[self._unusable()] = False
        self.num_frames = int(np.count_nonzero(self.is_frame))
