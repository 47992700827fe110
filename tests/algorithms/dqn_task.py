"""A DQN on made-up spaces, batches and rollouts for it, without environments."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from rl2cli.algorithms.base import Task
from rl2cli.algorithms.dqn import DQN
from rl2cli.algorithms.dqn_options import DQNOptions
from rl2cli.algorithms.replay import ReplayBatch
from rl2cli.keys import Trajectories
from rl2cli.networks.mlp import MLP
from rl2cli.networks.mlp_options import MLPOptions

CHOICES, GAMMA = 3, 0.9
STATE = spaces.Box(-np.inf, np.inf, (4,), np.float32)


def make_dqn(
    num_envs: int = 2,
    total_frames: int = 1000,
    has_action_mask: bool = False,
    seed: int = 0,
    space: spaces.Space[Any] = STATE,
    choices: int = CHOICES,
    **options: Any,
) -> DQN:
    def make_network(extra_features: int) -> MLP:
        return MLP(MLPOptions(hidden_sizes=[16]), space, extra_features)

    task = Task(
        observation_space=space,
        action_space=spaces.Discrete(choices),
        num_envs=num_envs,
        total_frames=total_frames,
        device=torch.device("cpu"),
        make_network=make_network,
        make_critic_network=make_network,
        make_generator=lambda purpose: torch.Generator().manual_seed(len(purpose)),
        has_action_mask=has_action_mask,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DQN(DQNOptions(**({"learning_starts": 0, "buffer_size": 500, "gamma": GAMMA} | options)), task)


def random_batch(rows: int, seed: int = 1, mask: torch.Tensor | None = None) -> ReplayBatch:
    generator = torch.Generator().manual_seed(seed)
    return ReplayBatch(
        observation=torch.randn(rows, 4, generator=generator),
        action=torch.randint(CHOICES, (rows,), generator=generator),
        reward=2.0 * torch.randn(rows, generator=generator),
        next_observation=torch.randn(rows, 4, generator=generator),
        discount=GAMMA * (torch.rand(rows, generator=generator) > 0.3).float(),
        weight=torch.ones(rows),
        action_mask=mask,
        next_action_mask=mask,
    )


@torch.no_grad()
def move(module: nn.Module, seed: int = 9) -> None:
    """Move its parameters by random numbers."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def rollout(length: int, num_envs: int, seed: int = 0, **rows: torch.Tensor) -> Trajectories:
    """Return a random rollout in which nothing ends; `rows` are put in its place."""
    generator = torch.Generator().manual_seed(seed)
    false = torch.zeros(length, num_envs, 1, dtype=torch.bool)
    observation = rows.pop("observation", torch.randn(length + 1, num_envs, 4, generator=generator))
    trajectories: Trajectories = {
        "observation": observation,
        "action": torch.randint(2, (length, num_envs), generator=generator),
        "reward": torch.randn(length, num_envs, 1, generator=generator),
        "terminated": false,
        "truncated": false,
        "valid": ~false,
        "is_init": false,
        "final_observation": observation[:0, 0],
        "final_index": torch.zeros(0, 2, dtype=torch.int64),
    } | rows
    trajectories["done"] = trajectories["terminated"] | trajectories["truncated"]
    return trajectories
