"""The rows of a saved replay buffer from the oldest to the newest, whichever pieces they were saved in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rl2cli.algorithms.ring import Array
from rl2cli.segment import Segment

_FLAGS = ("is_frame", "is_prefix")


class Span(NamedTuple):
    """Rows of one environment that follow each other."""

    environment: int
    rows: dict[str, Tensor]
    """Each [rows, *]."""


class _Left(NamedTuple):
    """What is left in a buffer, counted as `Ring.written` counts, [N] each."""

    oldest: Array
    first_frame: Array
    """Rows before it are no frames any more: they have lost older frames of their stacks."""


def is_buffer_state(value: object) -> bool:
    """Return whether `value` is what `ReplayBuffer.get_state` returns."""
    return isinstance(value, Mapping) and {"written", "is_open"} <= set(value)


def rows_in_order(segments: Sequence[Segment], state: Mapping[str, Any]) -> Iterator[Span]:
    """Yield every row, those of each environment in order; what a row does not mean is zero.

    The content of each segment is dropped after it was used, so two of them are in memory at most.

    Args:
        segments: As `ReplayBuffer.segments` returned them.
        state: As `ReplayBuffer.get_state` did; without `length`, as in older checkpoints, no row is too old.

    Raises:
        ValueError: They are not of such a buffer.
    """
    try:
        left = _what_is_left(state)
        contents: Iterator[dict[str, Tensor] | None] = itertools.chain(map(_content, segments), [None])
        for piece, following in itertools.pairwise(contents):
            if piece is not None:
                yield from _spans(piece, following, left)
    except (KeyError, TypeError, IndexError, RuntimeError) as error:
        raise ValueError(f"malformed replay segments: {type(error).__name__}: {error}") from error


def _what_is_left(state: Mapping[str, Any]) -> _Left:
    written = np.asarray(state["written"])
    if "length" not in state:
        return _Left(np.zeros_like(written), np.zeros_like(written))
    oldest = np.maximum(written - state["length"] + 1, 0)  # as Ring.oldest
    lost = state["stack"] - 1  # as Ring.settle: the oldest rows are parts of stacks only
    return _Left(oldest, np.where(oldest > 0, oldest + lost, 0))


def _content(segment: Segment) -> dict[str, Tensor]:
    tensors = segment.tensors
    if tensors is None:
        raise ValueError("malformed replay segments: one has no content")
    segment.tensors = None
    return tensors


def _spans(piece: Mapping[str, Tensor], following: Mapping[str, Tensor] | None, left: _Left) -> Iterator[Span]:
    """Yield what `piece` has of each environment, up to where the piece after it begins, which is right from there."""
    start, end = piece["start"].numpy(), piece["end"].numpy()
    stop = end if following is None else np.minimum(end, following["start"].numpy())
    offset = np.cumsum(end - start) - (end - start)  # where each environment's rows begin in the piece
    for n in range(len(start)):
        first = max(int(start[n]), int(left.oldest[n]))
        if first < stop[n]:
            rows = slice(int(offset[n] + first - start[n]), int(offset[n] + stop[n] - start[n]))
            yield Span(n, _meant(piece, rows, skip=max(0, int(left.first_frame[n]) - first)))


def _meant(piece: Mapping[str, Tensor], rows: slice, skip: int) -> dict[str, Tensor]:
    """Return `rows` of a piece, of which the first `skip` are no frames any more.

    A row that is no frame keeps in most columns what was there long before it.
    """
    flags = {name: piece[name][rows].clone() for name in _FLAGS if name in piece}
    for flag in flags.values():
        flag[:skip] = False
    has_mask = ~flags.get("is_prefix", torch.zeros_like(flags["is_frame"]))
    has_mask[:skip] = False
    found = dict(flags)
    for name in sorted(set(piece) - {*_FLAGS, "start", "end"}):
        column = piece[name][rows]
        if not name.startswith("observation"):
            is_meant = has_mask if name == "action_mask" else flags["is_frame"]
            column = column.where(is_meant.view(-1, *[1] * (column.ndim - 1)), 0)
        found[name] = column
    return found
