"""A few rollouts and updates of an untrained policy, to say beforehand what a run takes."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch

from rl2cli.keys import ACTION, ACTION_MASK
from rl2cli.training.build import Parts
from rl2cli.training.rollout import Rollout
from rl2cli.training.seeding import environment_seeds

LEAST_ITERATIONS = 2
"""The first one pays for allocations and is not counted."""
LEAST_SECONDS = 1.0
"""Of short iterations, which may begin with a warm-up; the later half is counted."""


class Trial(NamedTuple):
    """What an iteration takes."""

    frames: int
    seconds: float
    rollout_bytes: int


def measure(parts: Parts) -> Trial:
    """Run a few iterations on the parts of a run, which must not be trained afterwards; time the later ones."""
    algorithm, env = parts.algorithm, parts.env
    rollout = Rollout(algorithm.rollout_length, env.num_envs, env.observation_space, algorithm.task.device)
    explore = algorithm.task.make_generator("policy")
    observation, info = env.reset(environment_seeds(parts.plan.spec.seed, "trial", env.num_envs))
    mask, frames, trajectories = info.get(ACTION_MASK), 0, {}
    times = [time.perf_counter()]
    while len(times) <= LEAST_ITERATIONS or times[-1] - times[0] < LEAST_SECONDS:
        rollout.begin(observation, mask)
        for t in range(rollout.length):
            current, allowed = rollout.at(t)
            chosen = algorithm.behave(current, explore, allowed)
            rollout.store(t, chosen, env.step(chosen[ACTION]))
        observation, mask = rollout.at(rollout.length)
        trajectories = rollout.finish()
        frames += rollout.frames
        algorithm.update(trajectories, frames)
        times.append(time.perf_counter())
    counted = times[len(times) // 2 :]
    return Trial(rollout.length * env.num_envs, (counted[-1] - counted[0]) / (len(counted) - 1), _bytes(trajectories))


def _bytes(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_bytes(part) for part in value.values())
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0
