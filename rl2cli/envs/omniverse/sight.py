"""What the policy sees: the numbers of the observation terms, and the newest pictures of each camera."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.envs.omniverse.camera import Camera
from rl2cli.envs.omniverse.options import STATE, CameraOptions
from rl2cli.envs.omniverse.task import Task
from rl2cli.keys import Observation, map_observation
from rl2cli.spaces import Space


class Sight:
    """Observations of N environments; their tensors are overwritten by the next ones.

    Args:
        task: Reads the numbers.
        cameras: Takes the pictures, by name, with the options of each; none for numbers alone.
    """

    def __init__(self, task: Task, cameras: Mapping[str, tuple[CameraOptions, Camera]]) -> None:
        self._task, self._cameras = task, cameras
        count, device = task.world.num_envs, task.world.device
        self._numbers = torch.zeros(count, task.width, device=device)
        self._pictures = {
            name: torch.zeros(count, options.stack, *options.size, 3, dtype=torch.uint8, device=device)
            for name, (options, _) in cameras.items()
        }
        self.observation: Observation = self._numbers
        if cameras:
            self.observation = {STATE: self._numbers, **{name: self._shown(name) for name in cameras}}
        self.final: Observation = map_observation(torch.clone, self.observation)
        """The last observations of ended episodes, as `end` found them."""
        self.space = self._declared()

    def look(self, begun: torch.Tensor | None = None) -> None:
        """Bring `observation` up to date.

        Args:
            begun: [K] int64, environments whose episode begins here, so that older pictures are copies of this one.
                None where a frame has passed in all of them.
        """
        self._task.observe(self._numbers)
        for name, (_, camera) in self._cameras.items():
            taken, kept = camera.take(self._task.world.body_pose), self._pictures[name]
            if begun is None:
                kept[:, :-1] = kept[:, 1:].clone()
                kept[:, -1] = taken
            else:
                kept[begun] = taken[begun].unsqueeze(1).expand(-1, kept.shape[1], -1, -1, -1)

    def end(self) -> None:
        """Keep `observation` as the last one of the episodes that end here."""
        _copy(self.observation, self.final)

    @property
    def numbers(self) -> torch.Tensor:
        """[N, width] without the pictures."""
        return self._numbers

    @property
    def longest_stack(self) -> int:
        """Pictures of the past that an observation has; 0 without cameras."""
        return max((options.stack for options, _ in self._cameras.values()), default=0)

    def _shown(self, name: str) -> torch.Tensor:
        pictures = self._pictures[name]
        return pictures[:, 0] if pictures.shape[1] == 1 else pictures

    def _declared(self) -> Space:
        numbers = spaces.Box(-np.inf, np.inf, (self._task.width,), np.float32)
        if not self._cameras:
            return numbers
        pictures = {name: spaces.Box(0, 255, tuple(self._shown(name).shape[1:]), np.uint8) for name in self._cameras}
        return spaces.Dict({STATE: numbers, **pictures})


def _copy(observation: Observation, into: Observation) -> None:
    if isinstance(observation, dict) and isinstance(into, dict):
        for name, part in observation.items():
            _copy(part, into[name])
    elif isinstance(observation, torch.Tensor) and isinstance(into, torch.Tensor):
        into.copy_(observation)
