"""An environment whose step takes as long as it is told: as a simulator that computes elsewhere, or here."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from gymnasium import spaces
from pydantic import Field

from rl2cli.benchmarks.scale_runs import WAITING
from rl2cli.envs.base import BaseEnvAdapter, Resume
from rl2cli.options import Options as BaseOptions
from rl2cli.registry import register_adapter


class WaitingAdapter(BaseEnvAdapter):
    """Shows numbers that the seed decides, and takes its time for each step."""

    class Options(BaseOptions):
        """`[env]` with `backend = "waiting"`."""

        step_seconds: float = Field(0.005, ge=0.0, description="What a step takes.")
        busy: bool = Field(False, description="Compute for so long, on a core, instead of waiting for somebody else.")
        observation_size: int = Field(16, ge=1, description="Numbers in an observation.")
        episode_steps: int = Field(100, ge=1, description="Steps after which an episode is cut.")

    resume: Resume = "episode_seed"
    options: Options

    def setup(self) -> None:
        """See `BaseEnvAdapter`."""
        self.observation_space = spaces.Box(0.0, 1.0, (self.options.observation_size,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """See `BaseEnvAdapter`."""
        self._dice, self._steps = np.random.default_rng(seed), 0
        return self._show(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take a step, and as long for it as the options say."""
        if self.options.busy:
            end = time.thread_time() + self.options.step_seconds
            while time.thread_time() < end:
                pass
        else:
            time.sleep(self.options.step_seconds)
        self._steps += 1
        return self._show(), float(action), False, self._steps >= self.options.episode_steps, {}

    def _show(self) -> np.ndarray:
        return self._dice.random(self.options.observation_size, np.float32)


def register() -> None:
    """Make the backend known to this process, and to the workers of its runs."""
    register_adapter(WAITING, f"{__name__}:WaitingAdapter")
