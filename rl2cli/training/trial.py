"""A few rollouts and updates of an untrained policy, to say beforehand what a run takes."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch

from rl2cli.training.build import Parts
from rl2cli.training.clock import Clock
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
    collector = parts.make_collector(Clock())
    collector.reset(environment_seeds(parts.plan.spec.seed, "trial", env.num_envs))
    frames, rollout_bytes = 0, 0
    times = [time.perf_counter()]
    while len(times) <= LEAST_ITERATIONS or times[-1] - times[0] < LEAST_SECONDS:
        trajectories = collector.collect()
        assert trajectories is not None  # nothing cuts it short
        rollout_bytes = size_in_bytes(trajectories)
        frames += collector.rollout.frames
        algorithm.update(trajectories, frames)
        times.append(time.perf_counter())
    counted = times[len(times) // 2 :]
    seconds = (counted[-1] - counted[0]) / (len(counted) - 1)
    return Trial(algorithm.rollout_length * env.num_envs, seconds, rollout_bytes)


def size_in_bytes(value: Any) -> int:
    """Return what the tensors of a nested dict take."""
    if isinstance(value, dict):
        return sum(size_in_bytes(part) for part in value.values())
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0
