"""An algorithm, a network and an adapter as a user would write them, each in a file of its own size or less."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from rl2cli.algorithms.base import BaseAlgorithm, Task
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.networks.base import BaseNetwork
from rl2cli.options import Options


# --- network ---
class Fourier(BaseNetwork):
    """Random Fourier features of a vector."""

    class Options(Options):
        width: int = 32

    def __init__(self, options: Any, observation_space: spaces.Space[Any], extra_features: int = 0) -> None:
        super().__init__(options, observation_space, extra_features)
        assert observation_space.shape is not None
        self.projection = nn.Linear(observation_space.shape[0] + extra_features, options.width)
        self.out_features = options.width

    def forward(self, observation: Any, extra: torch.Tensor | None = None) -> torch.Tensor:
        return self.projection(observation if extra is None else torch.cat([observation, extra], -1)).cos()


# --- algorithm ---
class Reinforce(BaseAlgorithm):
    """Monte-Carlo policy gradient over whole rollouts (Williams 1992), for Discrete actions."""

    class Options(Options):
        learning_rate: float = 1e-2
        rollout_length: int = 16

    def __init__(self, options: Any, task: Task) -> None:
        super().__init__(options, task)
        self.rollout_length = options.rollout_length
        assert isinstance(task.action_space, spaces.Discrete)
        self.network = task.make_network(0)
        self.head = nn.Linear(self.network.out_features, int(task.action_space.n))
        self.updates = nn.Buffer(torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def act(
        self, observation: Any, explore: torch.Generator | None = None, action_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        logits = self.head(self.network(observation))
        if explore is None:
            return {"action": logits.argmax(-1)}
        return {"action": torch.multinomial(logits.softmax(-1), 1, generator=explore).squeeze(-1)}

    def update(self, trajectories: dict[str, Any], frames: int) -> dict[str, float]:
        returns = trajectories["reward"].squeeze(-1).flip(0).cumsum(0).flip(0)  # [T, N]
        observation = trajectories["observation"][:-1].flatten(0, 1)
        log_p = self.head(self.network(observation)).log_softmax(-1)
        chosen = log_p.gather(-1, trajectories["action"].reshape(-1, 1)).squeeze(-1)
        loss = -(chosen * (returns - returns.mean()).flatten()).mean()
        gradients = torch.autograd.grad(loss, list(self.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(self.parameters(), gradients, strict=True):
                parameter -= self.options.learning_rate * gradient
        self.updates += 1
        return {"loss/policy": loss.item()}


# --- adapter ---
class Walk(BaseEnvAdapter):
    """A walk on a line: the observation is the place, both ends terminate, the right one pays."""

    class Options(Options):
        length: int = 4

    resume: ClassVar[str] = "episode_seed"

    def setup(self) -> None:
        self.observation_space = spaces.Box(-10.0, 10.0, (1,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, seed: Any = None, mask: Any = None) -> tuple[Any, dict[str, Any]]:
        self.place = np.random.default_rng(seed).integers(-1, 2)
        return np.array([self.place], np.float32), {}

    def step(self, action: Any) -> Any:
        self.place += 2 * int(action) - 1
        ended = abs(self.place) >= self.options.length
        return np.array([self.place], np.float32), float(self.place >= self.options.length), ended, False, {}


class NotAnAlgorithm:
    pass


class WithoutOptions(BaseNetwork):
    Options = None  # type: ignore[assignment]

    def forward(self, observation: Any, extra: torch.Tensor | None = None) -> torch.Tensor:
        return observation
