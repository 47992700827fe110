"""A PPO on made-up spaces, and rollouts for it, without environments."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.algorithms.base import Task
from rl2cli.algorithms.ppo import PPO, Batch
from rl2cli.algorithms.ppo_options import PPOOptions
from rl2cli.keys import Trajectories
from rl2cli.networks.base import BaseNetwork
from rl2cli.networks.cnn import CNN
from rl2cli.networks.cnn_options import CNNOptions
from rl2cli.networks.images import is_image
from rl2cli.networks.mlp import MLP
from rl2cli.networks.mlp_options import MLPOptions

VECTOR = spaces.Box(-np.inf, np.inf, (4,), np.float32)
NORMAL = spaces.Box(-1.0, 1.0, (3,), np.float32)


def make_ppo(
    action_space: spaces.Space[Any],
    observation_space: spaces.Space[Any] = VECTOR,
    num_envs: int = 2,
    total_frames: int = 1000,
    seed: int = 0,
    lag: int = 0,
    **options: Any,
) -> PPO:
    def make_network(extra_features: int) -> BaseNetwork:
        if is_image(observation_space):
            small = CNNOptions(channels=[8, 8], kernel_sizes=[4, 3], strides=[2, 1], hidden_sizes=[16])
            return CNN(small, observation_space, extra_features)
        return MLP(MLPOptions(hidden_sizes=[16]), observation_space, extra_features)

    def make_generator(purpose: str) -> torch.Generator:
        del purpose
        return torch.Generator().manual_seed(seed)

    task = Task(
        observation_space=observation_space,
        action_space=action_space,
        num_envs=num_envs,
        total_frames=total_frames,
        device=torch.device("cpu"),
        make_network=make_network,
        make_critic_network=make_network,
        make_generator=make_generator,
        lag=lag,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PPO(PPOOptions(**options), task)


def random_batch(ppo: PPO, rows: int, seed: int = 1) -> Batch:
    """Return rows whose old policy differs from `ppo`, enough to clip some of them."""
    generator = torch.Generator().manual_seed(seed)
    observation = torch.randn(rows, 4, generator=generator)
    with torch.no_grad():
        outputs = ppo.policy_head(ppo.policy(observation))
        action = ppo.distribution.sample(outputs, ppo.log_std, generator)
        log_prob, _ = ppo.distribution.log_prob_and_entropy(outputs, ppo.log_std, action)
    return Batch(
        observation,
        action,
        log_prob + 0.3 * torch.randn(rows, generator=generator),
        torch.randn(rows, generator=generator) + 0.5,
        torch.randn(rows, generator=generator),
        torch.randn(rows, generator=generator),
        None,
    )


def rollout_of(ppo: PPO, observation: torch.Tensor, action: torch.Tensor, **rows: torch.Tensor) -> Trajectories:
    """Return trajectories in which nothing ends and all rewards are 0, but for `rows` ([T, N] each).

    `observation` is [T+1, N, *obs]; the policy's outputs are what `ppo` gives for it.
    """
    length, num_envs = action.shape[:2]
    false = torch.zeros(length, num_envs, 1, dtype=torch.bool)
    trajectories: Trajectories = {
        "observation": observation,
        "action": action,
        "reward": torch.zeros(length, num_envs, 1),
        "terminated": false,
        "truncated": false,
        "valid": ~false,
        "is_init": false,
        "final_observation": observation[:0, 0],
        "final_index": torch.zeros(0, 2, dtype=torch.int64),
    }
    for key, value in rows.items():
        trajectories[key] = value.unsqueeze(-1) if key not in ("final_observation", "final_index") else value
    trajectories["done"] = trajectories["terminated"] | trajectories["truncated"]
    flat = observation[:length].flatten(0, 1)
    trajectories["policy_output"] = ppo.act(flat)["policy_output"].clone().unflatten(0, (length, num_envs))
    return trajectories
