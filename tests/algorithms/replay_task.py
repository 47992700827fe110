"""Off-policy algorithms on made-up spaces, and batches and rollouts for them, without environments."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from rl2cli.algorithms.adam import FlatAdam
from rl2cli.algorithms.base import BaseAlgorithm, Task
from rl2cli.algorithms.replay import ReplayBatch
from rl2cli.algorithms.sac import SAC
from rl2cli.algorithms.td3 import TD3
from rl2cli.algorithms.tqc import TQC
from rl2cli.keys import Trajectories
from rl2cli.networks.mlp import MLP
from rl2cli.networks.mlp_options import MLPOptions
from rl2cli.spaces import action_dtype, action_shape

Algorithm = TypeVar("Algorithm", bound=BaseAlgorithm)
OffPolicy = SAC | TD3 | TQC

VECTOR = spaces.Box(-np.inf, np.inf, (4,), np.float32)
SCALAR = spaces.Box(-np.inf, np.inf, (1,), np.float32)
BOX = spaces.Box(np.array([-2.0, 0.0, 5.0], np.float32), np.array([1.0, 0.5, 9.0], np.float32))
UNIT = spaces.Box(-1.0, 1.0, (3,), np.float32)
DISCRETE = spaces.Discrete(4)
GAMMA = 0.9


def make(
    algorithm: type[Algorithm],
    action_space: spaces.Space[Any] = BOX,
    observation_space: spaces.Space[Any] = VECTOR,
    num_envs: int = 2,
    total_frames: int = 1000,
    seed: int = 0,
    has_action_mask: bool = False,
    **options: Any,
) -> Algorithm:
    def make_network(extra_features: int) -> MLP:
        return MLP(MLPOptions(hidden_sizes=[16]), observation_space, extra_features)

    task = Task(
        observation_space=observation_space,
        action_space=action_space,
        num_envs=num_envs,
        total_frames=total_frames,
        device=torch.device("cpu"),
        make_network=make_network,
        make_critic_network=make_network,
        make_generator=lambda purpose: torch.Generator().manual_seed(seed + zlib.crc32(purpose.encode())),
        has_action_mask=has_action_mask,
    )
    small = {"learning_starts": 0, "batch_size": 8, "buffer_size": 500, "gamma": GAMMA}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return algorithm(algorithm.Options(**(small | options)), task)


def random_batch(algorithm: OffPolicy, rows: int, seed: int = 1) -> ReplayBatch:
    """Return rows that all differ, some of which end their episode."""
    generator = torch.Generator().manual_seed(seed)
    task = algorithm.task
    masks = [None, None]
    if isinstance(task.action_space, spaces.Discrete):
        action = torch.randint(int(task.action_space.n), (rows,), generator=generator)
        if task.has_action_mask:
            masks = [random_mask(rows, int(task.action_space.n), seed + one) for one in range(2)]
    else:
        assert isinstance(task.action_space, spaces.Box)
        low, high = torch.from_numpy(task.action_space.low), torch.from_numpy(task.action_space.high)
        action = low + (high - low) * torch.rand(rows, *low.shape, generator=generator)
    return ReplayBatch(
        observation=torch.randn(rows, 4, generator=generator),
        action=action,
        reward=2.0 * torch.randn(rows, generator=generator),
        next_observation=torch.randn(rows, 4, generator=generator),
        discount=GAMMA * (torch.rand(rows, generator=generator) > 0.3).float(),
        weight=torch.ones(rows),
        action_mask=masks[0],
        next_action_mask=masks[1],
    )


def random_mask(rows: int, choices: int, seed: int) -> torch.Tensor:
    """Return [rows, choices] bool with at least one True in each row."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, choices, generator=generator) < 0.5
    mask[torch.arange(rows), torch.randint(choices, (rows,), generator=generator)] = True
    return mask


def draw_noise(algorithm: OffPolicy, rows: int, seed: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, width, generator=generator) for width in algorithm.learner.noise]


def move_apart(algorithm: OffPolicy, amount: float = 0.3) -> None:
    """Give the target networks parameters of their own."""
    generator = torch.Generator().manual_seed(9)
    for name, parameter in algorithm.named_parameters():
        if name.startswith("target"):
            parameter.data.add_(amount * torch.randn(parameter.shape, generator=generator))


def rollout(algorithm: OffPolicy, length: int, seed: int = 3, **rows: torch.Tensor) -> Trajectories:
    """Return random trajectories in which nothing ends, but for `rows` ([T, N] each, or complete)."""
    generator = torch.Generator().manual_seed(seed)
    task = algorithm.task
    num_envs = task.num_envs
    shape = length, num_envs, *action_shape(task.action_space)
    if isinstance(task.action_space, spaces.Discrete):
        action = torch.randint(int(task.action_space.n), shape, generator=generator)
    else:
        action = torch.rand(shape, generator=generator).to(action_dtype(task.action_space))
    width = task.observation_space.shape
    assert width is not None
    false = torch.zeros(length, num_envs, 1, dtype=torch.bool)
    trajectories: Trajectories = {
        "observation": torch.randn(length + 1, num_envs, *width, generator=generator),
        "action": action,
        "reward": torch.randn(length, num_envs, 1, generator=generator),
        "terminated": false,
        "truncated": false,
        "valid": ~false,
        "is_init": false,
        "final_observation": torch.zeros(0, *width),
        "final_index": torch.zeros(0, 2, dtype=torch.int64),
    }
    for key, value in rows.items():
        whole = key in ("observation", "action", "final_observation", "final_index")
        trajectories[key] = value if whole else value.unsqueeze(-1)
    trajectories["done"] = trajectories["terminated"] | trajectories["truncated"]
    return trajectories


@contextmanager
def only_gradients(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[FlatAdam, list[torch.Tensor]]]:
    """Have optimizers keep the gradients that they are given instead of taking steps."""
    found: dict[FlatAdam, list[torch.Tensor]] = {}

    def step(optimizer: FlatAdam, loss: torch.Tensor) -> torch.Tensor:
        found[optimizer] = list(torch.autograd.grad(loss, optimizer.parameters_in_order, retain_graph=True))
        return torch.zeros(())

    with monkeypatch.context() as patch:
        patch.setattr(FlatAdam, "step", step)
        yield found


def constant(value: Callable[..., torch.Tensor]) -> nn.Module:
    """Return a module that computes `value`."""

    class Function(nn.Module):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return value(*inputs)

    return Function()
