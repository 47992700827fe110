"""Steps environments with random actions and keeps copies of what they return."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.keys import Observation, map_observation
from rl2cli.spaces import sample_actions


def copied(observation: Observation) -> Observation:
    return map_observation(torch.clone, observation)


def random_actions(env: BaseEnvAdapter, steps: int, seed: int = 0) -> list[torch.Tensor]:
    generator = np.random.default_rng(seed)
    return [sample_actions(env.action_space, env.num_envs, generator) for _ in range(steps)]


def walk(env: BaseEnvAdapter, steps: int, seed: int = 0) -> Iterator[Step]:
    for action in random_actions(env, steps, seed):
        step = env.step(action)
        final = None if step.final_observation is None else copied(step.final_observation)
        yield Step(
            copied(step.observation), step.reward.clone(), step.terminated.clone(), step.truncated.clone(), final,
            step.valid, step.life_lost, {key: value.clone() for key, value in step.info.items()},
        )  # fmt: skip


def leaves(observation: Observation | None) -> list[torch.Tensor]:
    if isinstance(observation, dict):
        return [leaf for part in observation.values() for leaf in leaves(part)]
    return [] if observation is None else [observation]


def assert_same_steps(one: Iterator[Step], other: Iterator[Step]) -> None:
    """Compare two streams bit for bit, last observations on the rows where episodes ended."""
    for index, (left, right) in enumerate(zip(one, other, strict=True)):
        done = left.terminated | left.truncated
        pairs = [
            (left.reward, right.reward),
            (left.terminated, right.terminated),
            (left.truncated, right.truncated),
            *zip(leaves(left.observation), leaves(right.observation), strict=True),
            *zip(leaves(left.final_observation), leaves(right.final_observation), strict=True),
        ]
        for number, (a, b) in enumerate(pairs):
            rows = done if number >= 3 + len(leaves(left.observation)) else slice(None)
            assert torch.equal(a[rows], b[rows]), f"value {number} of step {index}"
