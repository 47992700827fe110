"""A run's parts built and tried with one step, without training: what `rl2 validate --deep` does."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl2cli.envs.checker import check_first_step
from rl2cli.keys import ACTION
from rl2cli.spec import LoadedSpec
from rl2cli.training.build import Parts
from rl2cli.training.clock import Clock
from rl2cli.training.collector import Collector
from rl2cli.training.free_memory import free_memory
from rl2cli.training.room import in_words
from rl2cli.training.seeding import environment_seeds
from rl2cli.training.session import build_loaded
from rl2cli.training.trial import size_in_bytes

COPIES_OF_WEIGHTS = 4
"""Weights, gradients and Adam's two moments."""


@dataclass(frozen=True)
class Tried:
    """What was built, and what it takes."""

    environment: str
    observation_space: str
    action_space: str
    algorithm: str
    parameters: int
    device: str
    build_seconds: float
    step_seconds: float
    learner_bytes: int
    """Estimated: weights, gradients, optimiser."""
    rollout_bytes: int
    replay_bytes: int
    process_bytes: int
    """Resident memory of this process after the step, without what is only taken while training."""
    free_bytes: int
    choices: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """Return what was done, and what a run will take."""
        replay = f", replay {in_words(self.replay_bytes)}" if self.replay_bytes else ""
        return [
            f"built {self.environment} in {self.build_seconds:.1f} s",
            f"  observations {self.observation_space}",
            f"  actions {self.action_space}",
            f"built {self.algorithm}, {self.parameters:,} parameters, on {self.device}",
            f"reset, acted and stepped once in {self.step_seconds * 1e3:,.1f} ms: shapes, types and bounds are right",
            f"memory: weights, gradients and optimiser {in_words(self.learner_bytes)}, a rollout "
            f"{in_words(self.rollout_bytes)}{replay}; this process has {in_words(self.process_bytes)} now, "
            f"{in_words(self.free_bytes)} are free",
            *self.choices,
        ]


def try_one_step(loaded: LoadedSpec) -> Tried:
    """Build environments, networks and algorithm, act once, step once, and close everything again.

    Raises:
        RL2Error: Something cannot be built, or breaks its contract; see `rl2cli.errors`.
    """
    start = time.perf_counter()
    parts = build_loaded(loaded, None, Path("outputs"))
    try:
        return _tried(parts, time.perf_counter() - start)
    finally:
        parts.close()


def _tried(parts: Parts, build_seconds: float) -> Tried:
    import psutil  # nothing else that is built needs it

    spec, env, algorithm = parts.plan.spec, parts.env, parts.algorithm
    start = time.perf_counter()
    rollout_bytes = _step(parts)
    parameters = sum(parameter.numel() for parameter in algorithm.parameters())
    return Tried(
        environment=f"{spec.env.num_envs} × {getattr(spec.env.options, 'id', spec.env.backend)}",
        observation_space=" ".join(str(env.observation_space).split()),
        action_space=" ".join(str(env.action_space).split()),
        algorithm=f"{spec.algorithm.name} with {spec.network.name}",
        parameters=parameters,
        device=spec.device,
        build_seconds=build_seconds,
        step_seconds=time.perf_counter() - start,
        learner_bytes=COPIES_OF_WEIGHTS * size_in_bytes(dict(algorithm.named_parameters())),
        rollout_bytes=rollout_bytes * (2 if spec.overlap is True else 1),
        replay_bytes=algorithm.memory_bytes,
        process_bytes=int(psutil.Process().memory_info().rss),
        free_bytes=free_memory(algorithm.task.device),
        choices=parts.plan.choices,
    )


def _step(parts: Parts) -> int:
    """Make one step of every environment as training would, and return the bytes that a rollout takes."""
    algorithm, env = parts.acting()
    collector = Collector(algorithm, env, Clock())
    collector.reset(environment_seeds(parts.plan.spec.seed, "trial", env.num_envs))
    rollout = collector.rollout
    rollout.begin(collector.observation, collector.action_mask)
    observation, action_mask = rollout.at(0)
    chosen = algorithm.behave(observation, collector.explore, action_mask)
    step = env.step(chosen[ACTION])
    check_first_step(env, observation, step)
    rollout.store(0, chosen, step)
    return size_in_bytes(rollout.finish()) * parts.env.num_envs // env.num_envs
