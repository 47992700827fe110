"""Drawing rows in proportion to their priorities (Schaul et al. 2015, arXiv 1511.05952), on any device.

torchrl's sum tree is compiled for one version of PyTorch and loads under no other, so this one is made of tensor
operations: a node has 128 children, so a million rows have two levels above them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WIDTH = 128
"""Children of a node."""
EPSILON = 1e-6
"""Added to errors, so that every frame may be drawn again [OpenAI Baselines]."""
BELOW_ONE = 1.0 - 2.0**-53


class Priorities:
    """Priorities of `size` rows: p = (|error| + epsilon)^alpha, or 0 where the row must not be drawn.

    Args:
        size: Number of rows.
        exponent: Alpha, how much the error counts.
        device: Where the rows are.
    """

    def __init__(self, size: int, exponent: float, device: torch.device) -> None:
        self.size, self.exponent, self.device = size, exponent, device
        self.largest = torch.ones((), device=device)
        """Scalar float32: the largest error seen, at least 1; what new rows are given."""
        self._sums = _Tree(size, 0.0, lambda children: children.sum(1), device)
        self._minima = _Tree(size, math.inf, lambda children: children.amin(1), device)

    @property
    def nbytes(self) -> int:
        """Bytes of both trees."""
        return sum(level.nbytes for tree in (self._sums, self._minima) for level in tree.levels)

    @property
    def values(self) -> Tensor:
        """[size] float64: the priorities."""
        return self._sums.levels[0][: self.size]

    def begin(self, rows: Tensor, is_frame: Tensor) -> None:
        """Give those of `rows` [C] int64, all different, that are frames [C] bool the largest priority, others 0."""
        largest = (self.largest + EPSILON) ** self.exponent
        self._set(rows, torch.where(is_frame, largest, 0.0))

    def update(self, index: Tensor, error: Tensor) -> None:
        """Set priorities of the rows `index` [B] int64 from `error` [B]; the largest where a row comes repeatedly.

        Rows of priority 0 keep it.
        """
        error = error.detach().abs()
        self.largest = torch.maximum(self.largest, error.max())
        priority = (error + EPSILON) ** self.exponent * (self.values.index_select(0, index) > 0)
        leaves = self._sums.levels[0]
        leaves.scatter_reduce_(0, index, priority.to(leaves.dtype), "amax", include_self=False)
        self._set(index, leaves.index_select(0, index))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return rows [count] int64, each with probability p / sum of p; at least one p must not be 0."""
        fraction = torch.rand(count, dtype=torch.float64, generator=generator, device=self.device)
        node = torch.zeros(count, dtype=torch.int64, device=self.device)
        for level in reversed(self._sums.levels):
            children = level.view(-1, WIDTH).index_select(0, node)  # [count, WIDTH]
            upper = children.cumsum(1)
            target = fraction[:, None] * upper[:, -1:]
            # The first child whose upper bound is beyond the target, so that none of priority 0 is chosen.
            child = torch.searchsorted(upper, target, right=True).clamp_max_(WIDTH - 1)
            width = children.gather(1, child)
            fraction = ((target - upper.gather(1, child)) / width + 1.0).squeeze(1).clamp_(0.0, BELOW_ONE)
            node = node * WIDTH + child.squeeze(1)
        return node

    def weights(self, index: Tensor, exponent: float) -> Tensor:
        """Return the importance weights w / max w of the rows `index` [B], w = (size p / sum of p)^-beta, [B] float32.

        That is (p / min p)^-beta over all rows that can be drawn (section 3.4; as in torchrl).
        """
        least = self._minima.levels[-1].min()
        return (self.values.index_select(0, index) / least).pow(-exponent).float()

    def get_state(self) -> dict[str, Any]:
        """Return all priorities, [size] float32, and the largest error."""
        return {"priorities": self.values.float(), "largest": self.largest}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back `get_state`."""
        self.largest = state["largest"].to(self.device)
        self._set(torch.arange(self.size, device=self.device), state["priorities"].to(self.device))

    def _set(self, index: Tensor, priority: Tensor) -> None:
        priority = priority.to(torch.float64)
        self._sums.set(index, priority)
        self._minima.set(index, torch.where(priority > 0, priority, math.inf))


class _Tree:
    """Values of `size` rows, and above them levels whose nodes hold what `reduce` makes of their children.

    `levels[0]` are the rows, `levels[-1]` the children of the root; all are padded with `neutral`.
    """

    def __init__(self, size: int, neutral: float, reduce: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self.reduce = reduce
        self.levels: list[Tensor] = []
        while not self.levels or size > 1:
            size = -(-size // WIDTH)
            self.levels.append(torch.full((size * WIDTH,), neutral, dtype=torch.float64, device=device))

    def set(self, index: Tensor, values: Tensor) -> None:
        """Set `values` [B] float64 of the rows `index` [B] int64; where a row comes repeatedly, they are equal."""
        self.levels[0][index] = values
        for lower, upper in itertools.pairwise(self.levels):
            index = index >> WIDTH.bit_length() - 1
            upper[index] = self.reduce(lower.view(-1, WIDTH).index_select(0, index))
