"""`rl2 infer --mode record`: episodes of a trained policy as videos."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rl2cli.envs import make_env_adapter
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.rendering import PICTURES
from rl2cli.inference.benchmark import prepare, result_of
from rl2cli.inference.other_env import enter_other_env
from rl2cli.inference.policy import Policy, load_policy
from rl2cli.reporting.picture import Scene
from rl2cli.reporting.recording import Recording, is_file_name
from rl2cli.reporting.video import VideoWriter, find_ffmpeg
from rl2cli.training.evaluation import Played
from rl2cli.training.footage import DEFAULT_FPS, Take, film
from rl2cli.training.seeding import environment_seeds, make_generator


def record(
    run: str | None,
    recording: Recording = Recording(),  # noqa: B008  # a frozen tuple
    *,
    checkpoint: str = "best",
    episodes: int | None = None,
    stochastic: bool = False,
    seed: int | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Film `episodes` episodes of a run's policy, one video each or one per full grid, and return what came of them.

    Args:
        run: A run's folder, one of its checkpoints, `"latest"`, or None for the last run under `./outputs`.
        recording: What the videos are like.
        checkpoint: `"best"`, `"last"` or a number of frames.
        episodes: How many; as many as one video shows where left out.
        stochastic: Sample actions; the most probable ones otherwise.
        seed: Of the episodes; by default one that training never uses.
        device: Where the policy computes.
        overrides: Settings of the environment in place of the run's, each `env.key=VALUE` with a TOML value.

    Raises:
        UsageError: There is no such run, it cannot draw, or a file is in the way.
        NoCheckpointError: No checkpoint of it can be loaded.
        MissingDependencyError: There is no ffmpeg.
        StorageError: A video could not be written.
    """
    find_ffmpeg()
    grid, episodes = recording.grid, episodes or recording.grid.cells
    recording.require_target(episodes)
    with closing(load_policy(run, checkpoint=checkpoint, device=device, render_mode=PICTURES)) as policy:
        enter_other_env(policy, overrides, PICTURES)
        seed, before = prepare(policy, seed), time.perf_counter()
        envs = _environments(policy, min(episodes, grid.cells))
        try:
            takes = _takes(policy, envs, episodes, seed, stochastic)
            videos, done = _film_all(policy, takes, recording, seed)
        finally:
            for env in envs[1:]:
                env.close()
        played = Played(np.array([take.total for take in done]), np.array([take.step for take in done], np.int64))
        seconds = time.perf_counter() - before
        return result_of(policy, played, overrides, seed=seed, stochastic=stochastic, seconds=seconds, videos=videos)


def _environments(policy: Policy, wanted: int) -> list[BaseEnvAdapter]:
    """Return `wanted` environments that draw, the policy's own among them."""
    device = policy.algorithm.task.device
    envs = [policy.env]
    try:
        while len(envs) < wanted:
            more = make_env_adapter(policy.spec.env, num_envs=1, device=device, render_mode=PICTURES, workers=0)
            envs.append(more)
    except BaseException:
        for env in envs[1:]:
            env.close()
        raise
    return envs


def _takes(
    policy: Policy, envs: Sequence[BaseEnvAdapter], episodes: int, seed: int, stochastic: bool
) -> Iterator[list[Take]]:
    """Yield the takes of each video; each episode has a seed and, for sampled actions, a generator of its own."""
    seeds, device = environment_seeds(seed, "infer", episodes), policy.algorithm.task.device
    for first in range(0, episodes, len(envs)):
        yield [
            Take(policy.algorithm, env, int(seeds[index]), _explore(seed, device, index) if stochastic else None)
            for index, env in zip(range(first, episodes), envs, strict=False)
        ]


def _explore(seed: int, device: torch.device, episode: int) -> torch.Generator:
    return make_generator(seed, "infer actions", device, episode)


def _film_all(
    policy: Policy, takes: Iterator[list[Take]], recording: Recording, seed: int
) -> tuple[list[Path], list[Take]]:
    grid, fps = recording.grid, recording.fps or policy.env.render_fps or DEFAULT_FPS
    scene = Scene(grid.rows, grid.columns, captions=recording.overlay)
    videos: list[Path] = []
    done: list[Take] = []
    for together in takes:
        path = _target(policy, recording, seed, len(done) + 1, len(together))
        with VideoWriter(path, fps=fps, format=recording.format) as writer:
            film(together, scene, writer)
        videos.append(path)
        done += together
    return videos, done


def _target(policy: Policy, recording: Recording, seed: int, episode: int, shown: int) -> Path:
    """Return a name that says what the video shows, and that nothing has yet."""
    out = recording.out
    if out is not None and is_file_name(out):
        return out
    folder = out or policy.run_dir / "videos"
    last = f"-{episode + shown - 1}" if shown > 1 else ""
    stem = f"{policy.checkpoint.frames:012}-seed{seed}-episode{episode}{last}"
    names = (f"{stem}{'' if number == 1 else f'-{number}'}.{recording.format}" for number in range(1, 10_000))
    return next(path for name in names if not (path := folder / name).exists())
