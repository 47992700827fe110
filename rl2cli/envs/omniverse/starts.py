"""How episodes begin: drawn for all environments, several episodes ahead, as drawing a few takes nearly as long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from rl2cli.envs.omniverse.engine import Quantity
from rl2cli.envs.omniverse.terms import Start, episode_uniforms
from rl2cli.envs.omniverse.world import World

Array = np.ndarray[Any, np.dtype[Any]]

_AHEAD = 8
"""Episodes of an environment that are drawn together."""


class Starts:
    """The beginnings of episodes, each a function of its environment's base seed and its number.

    Args:
        world: In the scene's own pose, which episodes begin with.
        resets: Reset terms, which change it.
        moves_root: Whether the root can be moved.
    """

    def __init__(self, world: World, resets: Sequence[Callable[[Start], None]], *, moves_root: bool) -> None:
        pose = torch.cat([world.root_position, world.root_orientation], 1)
        self.home = {
            Quantity.JOINT_POSITION: world.joint_position.clone(),
            Quantity.JOINT_VELOCITY: torch.zeros_like(world.joint_velocity),
            Quantity.ROOT_POSE: pose,
            Quantity.ROOT_VELOCITY: torch.zeros(world.num_envs, 6, device=world.device),
        }
        """The scene's own pose, at rest."""
        self._device, self._resets = world.device, resets
        self._written = list(self.home) if moves_root else [Quantity.JOINT_POSITION, Quantity.JOINT_VELOCITY]
        self._drawn = {each: values.unsqueeze(0).repeat(_AHEAD, 1, 1) for each, values in self.home.items()}
        self._seeds = np.zeros(world.num_envs, np.int64)  # of what is drawn, and its first episode
        self._first = np.full(world.num_envs, -1 - _AHEAD, np.int64)

    def take(self, rows: torch.Tensor, base_seeds: Array, episodes: Array) -> dict[Quantity, torch.Tensor]:
        """Return the values [K, ...] that environments begin with.

        Args:
            rows: [K] int64.
            base_seeds: [N] int64 of all environments.
            episodes: [N] int64, the numbers of their episodes.
        """
        numbers = rows.cpu().numpy()
        ahead = episodes[numbers] - self._first[numbers]
        if ((self._seeds[numbers] != base_seeds[numbers]) | (ahead < 0) | (ahead >= _AHEAD)).any():
            self._draw(base_seeds, episodes)
            ahead = episodes[numbers] - self._first[numbers]
        slots = torch.from_numpy(ahead).to(self._device)
        return {quantity: self._drawn[quantity][slots, rows] for quantity in self._written}

    def _draw(self, base_seeds: Array, episodes: Array) -> None:
        """Draw the next episodes of all environments."""
        self._seeds[...], self._first[...] = base_seeds, episodes
        seeds, numbers = np.tile(base_seeds, _AHEAD), (np.arange(_AHEAD)[:, None] + episodes).ravel()
        position, velocity, pose, twist = (values.repeat(_AHEAD, 1) for values in self.home.values())
        start = Start(position, velocity, pose, twist, _Drawer(seeds, numbers, self._device).uniform)
        for change in self._resets:
            change(start)
        parts = (start.joint_position, start.joint_velocity, start.root_pose, start.root_velocity)
        for quantity, part in zip(self.home, parts, strict=True):
            self._drawn[quantity] = part.reshape(_AHEAD, len(base_seeds), -1)


class _Drawer:
    """Random numbers of K episodes, one after the other."""

    def __init__(self, base_seeds: Array, episodes: Array, device: torch.device) -> None:
        self._seeds, self._episodes, self._device = base_seeds, episodes, device
        self._drawn = 0

    def uniform(self, width: int) -> torch.Tensor:
        """Return [K, width] numbers from 0 to 1."""
        numbers = episode_uniforms(self._seeds, self._episodes, self._drawn, width)
        self._drawn += width
        return torch.from_numpy(numbers).to(self._device)
