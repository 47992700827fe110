"""Bounded continuous actions: numbers from -1 to 1 to the algorithm, the space's own numbers to everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from rl2cli.errors import UsageError

ABLE = {spaces.Box: "ppo, sac, td3 and tqc", spaces.Discrete: "ppo, sac and dqn"}
"""Which algorithms can act in a space; ppo can in all."""


def cannot_act(algorithm: str, space: spaces.Space[Any]) -> UsageError:
    """Return the error for an algorithm that cannot act in `space`."""
    able = ABLE.get(type(space), "ppo")
    return UsageError(f"{algorithm} cannot act in {' '.join(str(space).split())}", hint=f"{able} can")


class BoxActions(nn.Module):
    """Scales between a Box's bounds and -1 to 1, without clipping.

    Args:
        space: The action space.
        algorithm: Name of who asks, for the message.

    Raises:
        UsageError: The space is no Box, or has a bound that is not finite.
    """

    middle: torch.Tensor
    scale: torch.Tensor

    def __init__(self, space: spaces.Space[Any], algorithm: str) -> None:
        super().__init__()
        if not isinstance(space, spaces.Box):
            raise cannot_act(algorithm, space)
        bounds = torch.from_numpy(np.stack([space.low, space.high]).astype(np.float64).reshape(2, -1))  # [2, width]
        if not bounds.float().isfinite().all():
            raise UsageError(
                f"{algorithm} needs bounds for every action, and {' '.join(str(space).split())} has infinite ones",
                hint="rescale the actions (gymnasium.wrappers.RescaleAction), or use ppo, which needs no bounds",
            )
        self.shape = space.shape
        self.width = bounds.shape[1]
        low, high = bounds
        half = (high - low) / 2
        self.register_buffer("middle", ((low + high) / 2).float(), persistent=False)
        self.register_buffer("scale", torch.where(half > 0, half, 1.0).float(), persistent=False)

    def to_env(self, unit: torch.Tensor) -> torch.Tensor:
        """Return `unit` [B, width] in the space's bounds, [B, *shape]."""
        return torch.addcmul(self.middle, unit, self.scale).view(-1, *self.shape)

    def to_unit(self, action: torch.Tensor) -> torch.Tensor:
        """Return `action` [B, *shape] as numbers from -1 to 1, [B, width]."""
        return (action.reshape(-1, self.width) - self.middle) / self.scale

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Return uniform random numbers from -1 to 1, [count, width]."""
        return torch.empty(count, self.width, device=self.scale.device).uniform_(-1.0, 1.0, generator=generator)
