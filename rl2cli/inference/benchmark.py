"""`rl2 infer --mode benchmark`: the return of a trained policy over whole episodes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from rl2cli.envs import make_env_adapter
from rl2cli.inference.other_env import enter_other_env
from rl2cli.inference.policy import Policy, load_policy
from rl2cli.reporting.statistics import interquartile_mean
from rl2cli.training.build import choose_threads
from rl2cli.training.evaluation import MAX_PARALLEL, Played, interval_95, play_episodes
from rl2cli.training.seeding import derive_seed, environment_seeds, make_generator


def benchmark(
    run: str | None,
    *,
    checkpoint: str = "best",
    episodes: int = 20,
    stochastic: bool = False,
    seed: int | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Play `episodes` episodes of a run's policy and return what came of them.

    Args:
        run: A run's folder, one of its checkpoints, `"latest"`, or None for the last run under `./outputs`.
        checkpoint: `"best"`, `"last"` or a number of frames.
        episodes: How many; they are assigned to environments beforehand and all of them count.
        stochastic: Sample actions; the most probable ones otherwise.
        seed: Of the episodes; by default one that training never uses.
        device: Where the policy computes.
        overrides: Settings of the environment in place of the run's, each `env.key=VALUE` with a TOML value.

    Raises:
        UsageError: There is no such run, or its policy does not fit the environment that `overrides` make.
        NoCheckpointError: No checkpoint of it can be loaded.
    """
    with closing(load_policy(run, checkpoint=checkpoint, device=device)) as policy:
        enter_other_env(policy, overrides)
        chosen_device = policy.algorithm.task.device
        seed = prepare(policy, seed)
        num_envs = min(episodes, MAX_PARALLEL)
        explore = make_generator(seed, "infer actions", chosen_device) if stochastic else None
        with closing(make_env_adapter(policy.spec.env, num_envs=num_envs, device=chosen_device, workers=0)) as env:
            before = time.perf_counter()
            played = play_episodes(policy.algorithm, env, episodes, environment_seeds(seed, "infer", num_envs), explore)
            seconds = time.perf_counter() - before
        assert played is not None  # nothing can stop it early
        return result_of(policy, played, overrides, seed=seed, stochastic=stochastic, seconds=seconds)


def prepare(policy: Policy, seed: int | None) -> int:
    """Let torch compute as it did in the run, and return the seed of the episodes; by default none of training's."""
    torch.set_num_threads(choose_threads(policy.spec, policy.algorithm)[0])
    return derive_seed(policy.spec.seed, "infer") % 2**31 if seed is None else seed


def result_of(
    policy: Policy,
    played: Played,
    overrides: Sequence[str],
    *,
    seed: int,
    stochastic: bool,
    seconds: float,
    videos: Sequence[Path] = (),
) -> dict[str, Any]:
    """Return what `rl2 infer` reports of whole episodes, in every mode.

    Args:
        policy: Played them.
        played: At least one episode.
        overrides: Settings of the environment that differ from the run's.
        seed: Of the episodes.
        stochastic: Whether actions were sampled.
        seconds: It took to play them.
        videos: That show them.
    """
    return {
        "run_dir": str(policy.run_dir),
        "checkpoint": str(policy.checkpoint.path),
        "frames": policy.checkpoint.frames,
        "episodes": len(played.returns),
        "seed": seed,
        "stochastic": stochastic,
        "overrides": list(overrides),
        "mean_return": float(played.returns.mean()),
        "std_return": float(played.returns.std()),
        "interval": interval_95(played.returns),
        "iqm_return": float(interquartile_mean(played.returns)),
        "min_return": float(played.returns.min()),
        "max_return": float(played.returns.max()),
        "mean_length": float(played.lengths.mean()),
        "min_length": int(played.lengths.min()),
        "max_length": int(played.lengths.max()),
        "returns": played.returns.tolist(),
        "lengths": played.lengths.tolist(),
        "frames_per_second": (played.frames or int(played.lengths.sum())) / max(seconds, 1e-9),
        "notes": policy.checkpoint.notes,
        "videos": [str(path) for path in videos],
    }
