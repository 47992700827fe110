"""One gradient made of the gradients of a minibatch's row shards, whichever process has which of them.

Of a shard, the gradient of its rows' mean loss counts as its part of the rows. Neighbours are added first, and sums of
neighbours in turn: in this order whether one process has all four shards of a minibatch, two have two each, or four
have one each.

    rows             0 … 7   8 … 15   16 … 23   24 … 31
    shard              0       1         2         3
    sum               (0   +   1)   +   (2    +    3)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

import torch


class Rows(Protocol):
    """A minibatch, whose rows can be selected."""

    @property
    def num_rows(self) -> int:
        """Number of its rows, B."""

    def select(self, rows: slice) -> Rows:
        """Return the rows at `rows`."""


Batch = TypeVar("Batch", bound=Rows)


class Loss(NamedTuple):
    """The loss of some rows, and what is to be known of them."""

    value: torch.Tensor
    """Scalar, a mean over the rows."""
    means: Sequence[torch.Tensor] = ()
    """Scalars, each a mean over the rows."""
    rows: Sequence[torch.Tensor] = ()
    """[B] each: a number of every row."""

    def detached(self) -> Loss:
        """Return it without gradients."""
        return Loss(self.value.detach(), [mean.detach() for mean in self.means], [row.detach() for row in self.rows])


Combine = Callable[[list[torch.Tensor]], torch.Tensor]
"""Takes what this process has of every one of its shards, in order, and returns the sum over those of all."""


class GradientShards:
    """Computes a gradient shard by shard, those of this process alone, and adds up everybody's.

    Args:
        count: Shards that every minibatch is cut into, of nearly as many rows each.
        own: Those that this process computes.
        combine: Adds up what all processes have; `pairwise_sum` where this one has all.
    """

    def __init__(self, count: int, own: range, combine: Combine) -> None:
        self.count, self.own, self.combine = count, own, combine

    def gradient(
        self,
        loss: Callable[..., Loss],
        batch: Rows,
        tensors: Sequence[torch.Tensor],
        parameters: Sequence[torch.Tensor],
    ) -> tuple[torch.Tensor, Loss]:
        """Return the gradient [P] of `loss` in `parameters`, and the loss itself, of all rows of all processes.

        Args:
            loss: Takes rows of `batch`, then the same rows of `tensors`.
            batch: The whole minibatch, [B].
            tensors: More tensors with B rows.
            parameters: P numbers in all.
        """
        total, parts = batch.num_rows, []
        for shard in self.own:
            start, end = total * shard // self.count, total * (shard + 1) // self.count
            rows = (
                slice(start, max(end, start + 1)) if start < total else slice(0, 1)
            )  # without rows: one that weighs 0
            found = loss(batch.select(rows), *[tensor[rows] for tensor in tensors])
            gradients = torch.autograd.grad(found.value, parameters, materialize_grads=True)
            parts.append(_pack(gradients, found.detached(), (end - start) / total, slice(start, end), total))
        size = sum(parameter.numel() for parameter in parameters)
        return _unpack(self.combine(parts), size, found, total)


def _pack(gradients: Sequence[torch.Tensor], loss: Loss, weight: float, rows: slice, total: int) -> torch.Tensor:
    """Return a shard's part of everything, [P + 1 + means + B for each of the rows], of which others' rows are 0."""
    scalars = torch.stack([loss.value, *loss.means])
    weighted = torch.cat([*[gradient.reshape(-1) for gradient in gradients], scalars]).mul_(weight)
    placed = weighted.new_zeros(len(loss.rows), total)
    for place, values in zip(placed, loss.rows, strict=True):
        place[rows] = values[: rows.stop - rows.start]
    return torch.cat([weighted, placed.flatten()])


def _unpack(summed: torch.Tensor, size: int, like: Loss, total: int) -> tuple[torch.Tensor, Loss]:
    scalars = 1 + len(like.means)
    gradient, values, placed = torch.split(summed, [size, scalars, total * len(like.rows)])
    value, *means = values.unbind()
    return gradient, Loss(value, means, placed.view(len(like.rows), total).unbind())


def pairwise_sum(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the sum of `parts`: of neighbours, while their number is even, and of what is left from first to last."""
    left = halved(list(parts), len(parts))
    total = left[0]
    for part in left[1:]:
        total = total + part
    return total


def halved(parts: list[torch.Tensor], count: int) -> list[torch.Tensor]:
    """Return sums of neighbours, of those in turn and so on, as long as the number of both is even.

    So a process with some of `count` parts, as many as every other one, adds up as many of them as may be without
    changing the order of the whole `pairwise_sum`.

    Args:
        parts: This process's.
        count: How many there are in all processes.
    """
    while len(parts) % 2 == 0 and count % 2 == 0:
        parts, count = [first + second for first, second in zip(parts[::2], parts[1::2], strict=True)], count // 2
    return parts
