"""Runs of a second or less, and what they left, for comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rl2cli
from rl2cli.training.checkpoint import CheckpointStore
from rl2cli.training.checkpoint_folder import Checkpoint


def spec(env_id: str = "CartPole-v1", total_frames: int = 2048, num_envs: int = 8, **tables: Any) -> dict[str, Any]:
    """Return a run spec; a table given by name is merged into the small one."""
    small: dict[str, Any] = {
        "name": "small",
        "total_frames": total_frames,
        "device": "cpu",
        "env": {"id": env_id, "num_envs": num_envs, "workers": 0},
        "network": {"hidden_sizes": [16]},
        "algorithm": {"rollout_length": 16, "minibatch_size": 32, "epochs": 2},
        "evaluation": {"every": total_frames, "episodes": 1, "stochastic_episodes": 0},
        "checkpoint": {"every": total_frames},
    }
    for key, value in tables.items():
        small[key] = {**small.get(key, {}), **value} if isinstance(value, dict) else value
    return small


def train(root: Path, settings: dict[str, Any], name: str = "run") -> Path:
    """Train and return the run's folder."""
    return Path(rl2cli.train(settings, run_dir=root / name).run_dir)


def newest(run: Path) -> Checkpoint:
    store = CheckpointStore(run / "checkpoints", read_only=True)
    try:
        return store.newest()
    finally:
        store.close()


def checkpoints(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit())


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield where two state trees differ in a single bit."""
    if isinstance(one, dict):
        if one.keys() != other.keys():
            yield f"{path}: {sorted(one.keys() ^ other.keys())}"
            return
        for key in one:
            yield from differences(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, torch.Tensor):
        if one.dtype != other.dtype or not torch.equal(one, other):
            yield path
    elif isinstance(one, np.ndarray):
        if one.dtype != other.dtype or not np.array_equal(one, other):
            yield path
    elif one != other:
        yield f"{path}: {one} and {other}"


LEARNED = ("frames", "iteration", "algorithm", "generators", "collector", "episodes")
"""The parts of a state that evaluations, checkpoints and logging must not touch."""


def learned(run: Path) -> dict[str, Any]:
    state = newest(run).state
    return {key: state[key] for key in LEARNED}
