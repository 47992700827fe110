"""How episodes begin: drawn several episodes ahead, since drawing for a few environments takes as long as for all."""

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
            base_seeds: [K] int64 of those environments.
            episodes: [K] int64, the numbers of their episodes.
        """
        numbers = rows.cpu().numpy()
        ahead = episodes - self._first[numbers]
        missing = (self._seeds[numbers] != base_seeds) | (ahead < 0) | (ahead >= _AHEAD)
        if missing.any():
            self._draw(numbers[missing], base_seeds[missing], episodes[missing])
            ahead = episodes - self._first[numbers]
        slots = torch.from_numpy(ahead).to(self._device)
        return {quantity: self._drawn[quantity][slots, rows] for quantity in self._written}

    def _draw(self, rows: Array, base_seeds: Array, episodes: Array) -> None:
        self._seeds[rows], self._first[rows] = base_seeds, episodes
        seeds, numbers = np.tile(base_seeds, _AHEAD), (np.arange(_AHEAD)[:, None] + episodes).ravel()
        where = torch.from_numpy(rows).to(self._device)
        position, velocity, pose, twist = (values[where].repeat(_AHEAD, 1) for values in self.home.values())
        start = Start(position, velocity, pose, twist, _Drawer(seeds, numbers, self._device).uniform)
        for change in self._resets:
            change(start)
        parts = (start.joint_position, start.joint_velocity, start.root_pose, start.root_velocity)
        for quantity, part in zip(self.home, parts, strict=True):
            self._drawn[quantity][:, where] = part.reshape(_AHEAD, len(rows), -1)


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
