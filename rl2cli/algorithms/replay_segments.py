"""A replay buffer on the disk: pieces of its rings that never change again, written once however often it is saved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from rl2cli.algorithms.replay_storage import ReplayStorage
from rl2cli.algorithms.ring import Array, Ring
from rl2cli.segment import Segment

MAX_PIECES = 256
"""Files that a checkpoint has of a buffer, at most."""


@dataclass
class _Piece:
    """Rows of every ring from `start` to before `end`, [N] each, counted as `Ring.written` counts."""

    segment: Segment
    start: Array
    end: Array


class ReplaySegments:
    """The rows of `ring` in pieces, oldest first; where two have a row, the newer one is right."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self._pieces: list[_Piece] = []
        self._held: list[Segment] = []  # those that have content

    def save(self, storage: ReplayStorage) -> list[Segment]:
        """Return segments with all rows: those of the last time that are still needed, and one with what is new.

        Of more than `MAX_PIECES`, the two neighbours with the fewest rows become one.
        """
        self.release()
        ring, pieces = self.ring, self._pieces
        pieces[:] = [piece for piece in pieces if np.any(piece.end - 1 > ring.oldest)]
        while pieces and pieces[-1].segment.sha256 is None:
            pieces.pop()  # of a save that failed: its rows come with the new ones, and do not pile up in memory
        # The newest row so far may have been that of a next observation, so it is written again.
        start = np.maximum(pieces[-1].end - 1, 0) if pieces else np.zeros_like(ring.written)
        end = ring.written + ring.is_open
        if np.any(end > (pieces[-1].end if pieces else start)):
            pieces.append(self._piece(start, end, storage))
        if len(pieces) > MAX_PIECES:
            first = min(range(len(pieces) - 1), key=lambda index: self._num_rows(pieces[index : index + 2]))
            pieces[first : first + 2] = [self._piece(pieces[first].start, pieces[first + 1].end, storage)]
        self._held = [piece.segment for piece in pieces if piece.segment.tensors is not None]
        return [piece.segment for piece in pieces]

    def load(self, segments: list[Segment], storage: ReplayStorage) -> None:
        """Take back the rows of `segments`; the ring's positions are those of the time when they were saved."""
        ring = self.ring
        for segment in segments:
            assert segment.tensors is not None
            start, end = segment.tensors["start"].numpy(), segment.tensors["end"].numpy()
            rows = ring.rows_between(start, end)
            storage.restore(rows, segment.tensors)
            for name, flags in ring.flags().items():
                flags[rows] = segment.tensors[name].numpy()
            self._pieces.append(_Piece(segment, start, end))
            self._held.append(segment)
            self.release()  # one after the other: the buffer is not in memory twice
        ring.settle()
        storage.copy_flags(ring)

    def release(self) -> None:
        """Forget the content of segments that are on the disk."""
        if self._held and all(segment.sha256 is not None for segment in self._held):
            for segment in self._held:
                segment.tensors = None
            self._held.clear()

    def _piece(self, start: Array, end: Array, storage: ReplayStorage) -> _Piece:
        """Return a piece with copies of the rows from `start` to before `end`, as far as they are left."""
        start = np.maximum(start, self.ring.oldest)
        rows = self.ring.rows_between(start, end)
        tensors = storage.copy(rows) | {"start": torch.from_numpy(start), "end": torch.from_numpy(end)}
        tensors |= {name: torch.from_numpy(flags[rows]) for name, flags in self.ring.flags().items()}
        return _Piece(Segment(tensors), start, end)

    def _num_rows(self, pieces: list[_Piece]) -> int:
        return sum(int(np.maximum(piece.end - np.maximum(piece.start, self.ring.oldest), 0).sum()) for piece in pieces)
