"""How much entropy counts in the return of a random policy."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from rl2cli.algorithms.adam import FlatAdam, FlatParameters


class Temperature(nn.Module):
    """The weight of the policy's entropy: a number, or learned so that the entropy stays near a target.

    Source: Haarnoja et al. 2018, arXiv 1812.05905, section 5.

    Args:
        coefficient: The number; "auto" learns it.
        first: What learning begins with.
        adam_epsilon: See `FlatAdam`.
        max_grad_norm: See `FlatAdam`.
        device: Where it is.
    """

    def __init__(
        self,
        coefficient: float | Literal["auto"],
        first: float,
        adam_epsilon: float,
        max_grad_norm: float,
        device: torch.device,
    ) -> None:
        super().__init__()
        learned = coefficient == "auto"
        value = torch.tensor(math.log(first if coefficient == "auto" else coefficient), device=device)
        self.log = nn.Parameter(value, requires_grad=learned)
        self.optimizer = FlatAdam([self.log], adam_epsilon, max_grad_norm) if learned else None
        self.fixed = None if learned else FlatParameters([self.log])

    @property
    def parts(self) -> list[FlatParameters]:
        """Return what a gradient step reads or changes here."""
        return [part for part in (self.optimizer, self.fixed) if part is not None]

    def forward(self) -> torch.Tensor:
        """Return the weight, without a gradient."""
        return self.log.detach().exp()

    def learn(self, excess: torch.Tensor) -> None:
        """Take a gradient step down E[log weight * excess], where `excess` [B] is the entropy less its target."""
        if self.optimizer is not None:
            self.optimizer.step((self.log * excess).mean())
