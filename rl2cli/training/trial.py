"""One rollout and update of an untrained policy, to say beforehand what a run takes."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch

from rl2cli.keys import ACTION, ACTION_MASK
from rl2cli.training.build import Parts
from rl2cli.training.rollout import Rollout
from rl2cli.training.seeding import environment_seeds

REPEATS = 2
"""The first iteration pays for allocations and is not counted."""


class Trial(NamedTuple):
    """What one iteration took."""

    frames: int
    seconds: float
    rollout_bytes: int


def measure(parts: Parts) -> Trial:
    """Run two iterations on the parts of a run, which must not be trained afterwards; time the second."""
    algorithm, env = parts.algorithm, parts.env
    rollout = Rollout(algorithm.rollout_length, env.num_envs, env.observation_space, algorithm.task.device)
    explore = algorithm.task.make_generator("policy")
    observation, info = env.reset(environment_seeds(parts.plan.spec.seed, "trial", env.num_envs))
    mask, seconds, frames, trajectories = info.get(ACTION_MASK), 0.0, 1, {}
    for _ in range(REPEATS):
        before = time.perf_counter()
        rollout.begin(observation, mask)
        for t in range(rollout.length):
            current, allowed = rollout.at(t)
            chosen = algorithm.act(current, explore, allowed)
            rollout.store(t, chosen, env.step(chosen[ACTION]))
        observation, mask = rollout.at(rollout.length)
        trajectories = rollout.finish()
        frames = int(rollout.valid.sum())
        algorithm.update(trajectories, frames)
        seconds = time.perf_counter() - before
    return Trial(frames, seconds, _bytes(trajectories))


def _bytes(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_bytes(part) for part in value.values())
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0
