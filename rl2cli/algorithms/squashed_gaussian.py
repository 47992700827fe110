"""The tanh-Gaussian policy of bounded continuous actions."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from rl2cli.algorithms.base import Task
from rl2cli.algorithms.box_actions import BoxActions
from rl2cli.algorithms.exploration import ColouredNoise, StateDependentNoise
from rl2cli.keys import Observation

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
"""As in Haarnoja et al.'s code and Stable-Baselines3."""
MEAN_MAX = 2.0
"""Means of state-dependent noise end here, as in Stable-Baselines3: tanh has almost no slope beyond."""
PATTERN_STEPS, FUNCTION_STEPS = 1000, 64
"""Default life of a sequence of coloured noise, and of a function of state-dependent noise."""

Exploration = Literal["white", "coloured", "state_dependent"]


class SquashedGaussian(nn.Module):
    """Actions tanh(x), x normal with mean and deviation from a network; in rl2's unit actions, from -1 to 1.

    Source: Haarnoja et al. 2018, arXiv 1812.05905, appendix C; state-dependent noise: Raffin et al. 2020,
    arXiv 2005.05719.

    Args:
        task: What it acts in.
        algorithm: Name of who uses it, for messages.
        exploration: Noise in training.
        noise_exponent: Colour of coloured noise.
        noise_steps: Life of a pattern of coloured noise or of a function of state-dependent noise.
        log_std_init: First logarithm of state-dependent deviations.
    """

    noise: ColouredNoise | StateDependentNoise | None

    def __init__(
        self,
        task: Task,
        algorithm: str,
        exploration: Exploration = "white",
        noise_exponent: float = 1.0,
        noise_steps: int | None = None,
        log_std_init: float = -3.0,
    ) -> None:
        super().__init__()
        self.actions = BoxActions(task.action_space, algorithm)
        self.width = self.actions.width
        self.network = task.make_network(0)
        features = self.network.out_features
        self.noise, self.log_std = None, None
        if exploration == "state_dependent":
            self.log_std = nn.Parameter(torch.full((features, self.width), log_std_init))
            steps = noise_steps or FUNCTION_STEPS
            self.noise = StateDependentNoise(steps, task.num_envs, features, self.width, task.device)
        elif exploration == "coloured":
            steps = noise_steps or PATTERN_STEPS
            self.noise = ColouredNoise(noise_exponent, steps, task.num_envs, self.width, task.device)
        self.head = nn.Linear(features, self.width if self.log_std is not None else 2 * self.width)

    def mean(self, observation: Observation) -> torch.Tensor:
        """Return the action of the mean, [B, width]."""
        return self._distribution(self.network(observation))[0].tanh()

    def sample(self, observation: Observation, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return random actions [B, width] and their log-probabilities [B].

        log p(a) = sum of log N(x) - log(1 - tanh²(x)); the second as 2 (log 2 - x - softplus(-2 x)).

        Args:
            observation: [B, *obs], normalised.
            noise: [B, width], standard normal.
        """
        mean, log_std = self._distribution(self.network(observation))
        x = mean + log_std.exp() * noise
        log_prob = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi)
        log_prob = log_prob - 2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))
        return x.tanh(), log_prob.sum(-1)

    @torch.inference_mode()
    def act(
        self, observation: Observation, explore: torch.Generator | None, action_mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Return actions in the space's bounds, [B, *act], those of the mean where `explore` is None."""
        del action_mask
        if explore is None:
            return self.actions.to_env(self.mean(observation))
        mean, log_std = self._distribution(self.network(observation))
        noise = torch.empty_like(mean).normal_(generator=explore)
        return self.actions.to_env(torch.addcmul(mean, log_std.exp(), noise).tanh())

    @torch.inference_mode()
    def behave(
        self, observation: Observation, explore: torch.Generator, action_mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the actions of training in the space's bounds, [N, *act]."""
        del action_mask
        return self.actions.to_env(self.explore(observation, explore))

    def random(self, count: int, generator: torch.Generator, action_mask: torch.Tensor | None) -> torch.Tensor:
        """Return the actions of the warm-up, uniform in the space's bounds and coloured as the noise is, [N, *act]."""
        del action_mask
        if isinstance(self.noise, ColouredNoise):
            return self.actions.to_env(self.noise.sample_uniform(generator))
        return self.actions.to_env(self.actions.sample(count, generator))

    def explore(self, observation: Observation, generator: torch.Generator) -> torch.Tensor:
        """Return the actions of training, [N, width]."""
        features = self.network(observation)
        mean, log_std = self._distribution(features)
        if isinstance(self.noise, StateDependentNoise):
            assert self.log_std is not None
            return torch.tanh(mean + self.noise.sample(features, self.log_std.exp(), generator))
        if self.noise is None:
            noise = torch.empty_like(mean).normal_(generator=generator)
        else:
            noise = self.noise.sample(generator)
        return torch.addcmul(mean, log_std.exp(), noise).tanh()

    def _distribution(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log-deviation before tanh, [B, width] each."""
        outputs = self.head(features)
        if self.log_std is None:
            mean, log_std = outputs.chunk(2, -1)
            return mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
        variance = features.detach().square() @ (2.0 * self.log_std).exp()
        return outputs.clamp(-MEAN_MAX, MEAN_MAX), 0.5 * (variance + 1e-6).log()
