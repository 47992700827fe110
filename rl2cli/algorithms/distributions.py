"""Action distributions as plain functions of a head's outputs: no object is built while acting.

A distribution is chosen once from the action space by `make_distribution`. The head gives `outputs` [B, num_outputs];
continuous actions also have a state-independent `log_std` [num_log_std]. Probabilities of independent numbers
multiply: log-probabilities and entropies are summed over the action.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from gymnasium import spaces
from torch.nn import functional as F

from rl2cli.spaces import ActionLeaf, action_leaves

LOG_TWO_PI = math.log(2.0 * math.pi)
MASKED_LOGIT = -1e8
"""Finite, so that an impossible action adds exactly nothing to the entropy."""


class Distribution(Protocol):
    """A distribution over the actions of one space."""

    num_outputs: int
    """Numbers per action that the head gives."""
    num_log_std: int
    """Learned deviations, one for each continuous number."""

    def mode(self, outputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the most probable action [B, *act]."""

    def sample(
        self,
        outputs: torch.Tensor,
        log_std: torch.Tensor,
        generator: torch.Generator,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return a random action [B, *act]."""

    def log_prob_and_entropy(
        self, outputs: torch.Tensor, log_std: torch.Tensor, action: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the log-probability [B] of `action` and the entropy [B]."""


class Categorical:
    """One choice out of n."""

    num_log_std = 0

    def __init__(self, size: int) -> None:
        self.num_outputs = size

    def mode(self, outputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the most probable choice [B] int64."""
        return masked(outputs, mask).argmax(-1)

    def sample(
        self,
        outputs: torch.Tensor,
        log_std: torch.Tensor,
        generator: torch.Generator,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return a random choice [B] int64 by the Gumbel-max trick: argmax(logits - log E), E ~ Exp(1)."""
        del log_std
        noise = torch.empty_like(outputs).exponential_(generator=generator).log_()
        return (masked(outputs, mask) - noise).argmax(-1)

    def log_prob_and_entropy(
        self, outputs: torch.Tensor, log_std: torch.Tensor, action: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log p(action) [B] and -sum p log p [B]."""
        del log_std
        log_p = F.log_softmax(masked(outputs, mask), -1)  # [B, n]
        entropy = -(log_p.exp() * log_p).sum(-1)
        return log_p.gather(-1, action.unsqueeze(-1)).squeeze(-1), entropy


class MultiCategorical:
    """Several independent choices, each with its own number of alternatives."""

    num_log_std = 0

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = list(sizes)
        self.num_outputs = sum(sizes)
        self.parts = [Categorical(size) for size in sizes]

    def mode(self, outputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the most probable choices [B, k] int64."""
        return torch.stack([part.argmax(-1) for part in torch.split(masked(outputs, mask), self.sizes, -1)], -1)

    def sample(
        self,
        outputs: torch.Tensor,
        log_std: torch.Tensor,
        generator: torch.Generator,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return random choices [B, k] int64."""
        del log_std
        noise = torch.empty_like(outputs).exponential_(generator=generator).log_()
        return self.mode(masked(outputs, mask) - noise)

    def log_prob_and_entropy(
        self, outputs: torch.Tensor, log_std: torch.Tensor, action: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sums over the choices of log-probability [B] and entropy [B]."""
        logits = torch.split(masked(outputs, mask), self.sizes, -1)
        pairs = [
            part.log_prob_and_entropy(logit, log_std, choice)
            for part, logit, choice in zip(self.parts, logits, action.unbind(-1), strict=True)
        ]
        return _sum_pairs(pairs)


class Bernoulli:
    """Several independent yes-or-no choices; the outputs are logits of yes."""

    num_log_std = 0

    def __init__(self, width: int) -> None:
        self.num_outputs = width

    def mode(self, outputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the more probable choices [B, n] int64."""
        del mask
        return (outputs > 0).long()

    def sample(
        self,
        outputs: torch.Tensor,
        log_std: torch.Tensor,
        generator: torch.Generator,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return random choices [B, n] int64."""
        del log_std, mask
        return (torch.empty_like(outputs).uniform_(generator=generator) < outputs.sigmoid()).long()

    def log_prob_and_entropy(
        self, outputs: torch.Tensor, log_std: torch.Tensor, action: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log p [B] = -softplus(∓logit) summed, and the entropy [B]."""
        del log_std, mask
        signed = torch.where(action > 0, outputs, -outputs)
        entropy = F.softplus(outputs) - outputs * outputs.sigmoid()
        return F.logsigmoid(signed).sum(-1), entropy.sum(-1)


class DiagonalNormal:
    """Independent normal numbers; the outputs are the means. Actions are not bounded here: the adapter clips them."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.num_outputs = self.num_log_std = math.prod(shape)

    def mode(self, outputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the means [B, *shape]."""
        del mask
        return outputs if len(self.shape) == 1 else outputs.reshape(-1, *self.shape)

    def sample(
        self,
        outputs: torch.Tensor,
        log_std: torch.Tensor,
        generator: torch.Generator,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return mean + std * noise, [B, *shape]."""
        noise = torch.empty_like(outputs).normal_(generator=generator)
        return self.mode(torch.addcmul(outputs, noise, log_std.exp()), mask)

    def log_prob_and_entropy(
        self, outputs: torch.Tensor, log_std: torch.Tensor, action: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log p [B] = -((a - mean)² / (2 std²) + log std + log(2π)/2) summed, and the entropy [B]."""
        del mask
        distance = (action.reshape(outputs.shape) - outputs) * (-log_std).exp()
        log_prob = -0.5 * (distance.square() + LOG_TWO_PI).sum(-1) - log_std.sum(-1)
        entropy = (log_std + 0.5 * (1.0 + LOG_TWO_PI)).sum(-1)
        return log_prob, entropy.expand(log_prob.shape)


class Composite:
    """Independent distributions side by side, over one flat float32 action vector."""

    def __init__(self, leaves: tuple[ActionLeaf, ...]) -> None:
        self.leaves = leaves
        self.parts = [_leaf_distribution(leaf) for leaf in leaves]
        self.output_sizes = [part.num_outputs for part in self.parts]
        self.log_std_sizes = [part.num_log_std for part in self.parts]
        self.num_outputs = sum(self.output_sizes)
        self.num_log_std = sum(self.log_std_sizes)

    def mode(self, outputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the most probable action [B, width] float32."""
        del mask
        pieces = torch.split(outputs, self.output_sizes, -1)
        return _join([part.mode(piece) for part, piece in zip(self.parts, pieces, strict=True)])

    def sample(
        self,
        outputs: torch.Tensor,
        log_std: torch.Tensor,
        generator: torch.Generator,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return a random action [B, width] float32."""
        del mask
        pieces = zip(
            self.parts,
            torch.split(outputs, self.output_sizes, -1),
            torch.split(log_std, self.log_std_sizes, -1),
            strict=True,
        )
        return _join([part.sample(output, std, generator) for part, output, std in pieces])

    def log_prob_and_entropy(
        self, outputs: torch.Tensor, log_std: torch.Tensor, action: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sums over the parts of log-probability [B] and entropy [B]."""
        del mask
        pieces = zip(
            self.leaves,
            self.parts,
            torch.split(outputs, self.output_sizes, -1),
            torch.split(log_std, self.log_std_sizes, -1),
            strict=True,
        )
        pairs = [
            part.log_prob_and_entropy(output, std, _leaf_action(leaf, action)) for leaf, part, output, std in pieces
        ]
        return _sum_pairs(pairs)


def make_distribution(action_space: spaces.Space[Any]) -> Distribution:
    """Return the distribution over `action_space`: Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple.

    Raises:
        UsageError: Nothing can act in this space.
    """
    leaves = action_leaves(action_space)
    if isinstance(action_space, (spaces.Dict, spaces.Tuple)):
        return Composite(leaves)
    return _leaf_distribution(leaves[0], plain=isinstance(action_space, spaces.Discrete))


def _leaf_distribution(leaf: ActionLeaf, plain: bool = False) -> Distribution:
    if leaf.kind == "categorical":
        return Categorical(leaf.sizes[0]) if plain else MultiCategorical(leaf.sizes)
    if leaf.kind == "bernoulli":
        return Bernoulli(leaf.width)
    return DiagonalNormal(leaf.shape)


def _leaf_action(leaf: ActionLeaf, action: torch.Tensor) -> torch.Tensor:
    piece = action[..., leaf.start : leaf.start + leaf.width]
    return piece if leaf.kind == "normal" else piece.round().long()


def _join(pieces: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([piece.flatten(1).float() for piece in pieces], -1)


def _sum_pairs(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    log_probs, entropies = zip(*pairs, strict=True)
    return torch.stack(log_probs).sum(0), torch.stack(entropies).sum(0)


def masked(logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return `logits` [B, A] with those of forbidden choices so low that they are never taken."""
    return logits if mask is None else logits.masked_fill(~mask, MASKED_LOGIT)
