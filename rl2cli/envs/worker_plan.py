"""How many worker processes pay, measured on the environment itself."""

from __future__ import annotations

import time

import numpy as np

from rl2cli.cores import available_cores
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.in_process import InProcessBatch
from rl2cli.envs.selection import select_adapter
from rl2cli.options import Options
from rl2cli.spaces import sample_actions
from rl2cli.spec.model import EnvSpec

MEASURED_SECONDS = 0.15
SIGNAL_SECONDS = 150e-6
"""What one worker adds to each step of the batch: a message there and one back, on cores that are not idle."""
WORTHWHILE_SECONDS = 5e-3
"""A batch that steps faster than this stays in one process: starting workers takes seconds."""
WORTHWHILE_SHARE = 0.3
"""Share of a step's time that workers have to save."""


def plan_workers(env_spec: EnvSpec) -> int:
    """Return how many worker processes step the environments of `env_spec`; 0 is none.

    "auto" steps one environment with random actions for up to 0.15 s, unless the backend has a vector form, there is
    one core, or workers could not import the adapter.
    """
    if env_spec.workers != "auto":
        return env_spec.workers
    adapter, options = select_adapter(env_spec, env_spec.num_envs)
    most = min(available_cores(), env_spec.num_envs)
    if adapter.vectorised or most < 2 or adapter.__module__ == "__main__":
        return 0
    return workers_that_pay(env_spec.num_envs * step_seconds(adapter, options), most)


def workers_that_pay(batch_seconds: float, most: int) -> int:
    """Return `most`, or 0 where that many would not clearly shorten a batch's step of `batch_seconds`."""
    saved = batch_seconds * (1 - 1 / most) - most * SIGNAL_SECONDS
    pays = batch_seconds >= WORTHWHILE_SECONDS and saved >= WORTHWHILE_SHARE * batch_seconds
    return most if pays else 0


def step_seconds(adapter: type[BaseEnvAdapter], options: Options) -> float:
    """Return the median seconds of one step of one environment; other processes' bursts do not move it."""
    batch = InProcessBatch(adapter, options)
    try:
        batch.setup()
        batch.reset(np.zeros(1, np.int64))
        actions = sample_actions(batch.action_space, 64, np.random.default_rng(0))
        times = [time.perf_counter()]
        while times[-1] - times[0] < MEASURED_SECONDS and len(times) < 2000:
            batch.step(actions[len(times) % 64][None])
            times.append(time.perf_counter())
        return float(np.median(np.diff(times)))
    finally:
        batch.close()
