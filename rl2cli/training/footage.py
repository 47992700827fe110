"""Episodes that somebody looks at: stepped one by one, so that each step can be drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.keys import ACTION, ACTION_MASK, map_observation
from rl2cli.reporting.picture import Caption, Scene
from rl2cli.reporting.video import VideoWriter
from rl2cli.training.evaluation import check_length
from rl2cli.training.signals import StopRequest

DEFAULT_FPS = 30.0
"""Pictures per second where the environment does not say."""


class Take:
    """One episode of one environment, a step at a time.

    Args:
        algorithm: Acts as in an evaluation; nothing of it changes.
        env: One environment that draws.
        seed: Base seed of the episode.
        explore: Samples actions with this generator; None acts deterministically.
    """

    def __init__(
        self, algorithm: BaseAlgorithm, env: BaseEnvAdapter, seed: int, explore: torch.Generator | None = None
    ) -> None:
        self.env = env
        self.step, self.reward, self.total, self.ended = 0, 0.0, 0.0, False
        self._algorithm, self._explore = algorithm, explore
        self._observation, self._info = env.reset(np.array([seed], np.int64))

    @property
    def caption(self) -> Caption:
        """Step, reward and return so far."""
        return Caption(self.step, self.reward, self.total)

    def advance(self) -> None:
        """Take the next step.

        Raises:
            EnvironmentFault: The environment raised, or the episode does not end.
        """
        device = self._algorithm.task.device
        observation = map_observation(lambda tensor: tensor.to(device), self._observation)
        mask = self._info.get(ACTION_MASK)
        action = self._algorithm.act(observation, self._explore, None if mask is None else mask.to(device))[ACTION]
        step = self.env.step(action)
        self._observation, self._info = step.observation, step.info
        self.step += 1
        self.reward = float(step.reward[0])
        self.total += self.reward
        self.ended = bool(step.terminated[0] | step.truncated[0])
        check_length(self.step)


def film(
    takes: Sequence[Take],
    scene: Scene,
    writer: VideoWriter,
    *,
    max_steps: int | None = None,
    stop: StopRequest | None = None,
) -> bool:
    """Write all of `takes`, side by side, to `writer`; who has ended stays as it was until all have.

    Args:
        takes: The episodes, at their beginnings.
        scene: Puts their pictures together.
        writer: Takes the pictures.
        max_steps: Steps after which it ends anyway.
        stop: Ends it early where a signal came.

    Returns:
        Whether it went to its end, not cut short by a signal.
    """
    pictures = [take.env.render() for take in takes]
    while True:
        writer.write(scene.compose(pictures, [take.caption for take in takes]))
        running = [index for index, take in enumerate(takes) if not take.ended]
        if not running or (max_steps is not None and takes[running[0]].step >= max_steps):
            return True
        if stop is not None and stop.signal_number is not None:
            return False
        for index in running:
            takes[index].advance()
            pictures[index] = takes[index].env.render()
