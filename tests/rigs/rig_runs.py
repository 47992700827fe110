"""What the rigs train, and what a checkpoint holds as one hash."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CXX", "no-compiler-in-rigs")

import torch

import rl2cli
from rl2cli.reporting.plain import QuietView
from rl2cli.reporting.progress import Summary
from rl2cli.training import session
from rl2cli.training.checkpoint import CheckpointStore
from rl2cli.training.checkpoint_folder import Checkpoint, CheckpointFolder
from rl2cli.training.state_tree import flatten

_REPLAY = {"buffer_size": 400, "batch_size": 16, "learning_starts": 32, "updates_per_frame": 0.125}
_SPECS: dict[str, dict[str, Any]] = {
    "ppo": {
        "env": {"id": "CartPole-v1", "num_envs": 4},
        "algorithm": {"name": "ppo", "rollout_length": 32, "minibatch_size": 64, "epochs": 1},
    },
    "sac": {"env": {"id": "Pendulum-v1", "num_envs": 4}, "algorithm": {"name": "sac", **_REPLAY}},
    "dqn": {"env": {"id": "CartPole-v1", "num_envs": 4}, "algorithm": {"name": "dqn", **_REPLAY}},
}
KINDS = tuple(_SPECS)
TOTAL_FRAMES = 640


def spec(kind: str, **tables: Any) -> dict[str, Any]:
    """Return the spec of a run of a second, with five checkpoints of which three are kept."""
    base: dict[str, Any] = {
        "name": kind,
        "total_frames": TOTAL_FRAMES,
        "device": "cpu",
        "threads": 1,
        "overlap": False,
        "compile": False,
        "network": {"hidden_sizes": [8]},
        "evaluation": {"every": TOTAL_FRAMES // 2, "episodes": 1, "stochastic_episodes": 0},
        "checkpoint": {"every": TOTAL_FRAMES // 5},
        "logging": {"every": 32},
    }
    whole = {**base, **copy.deepcopy(_SPECS[kind])}
    whole["env"]["workers"] = 0
    for name, value in tables.items():
        whole[name] = {**whole.get(name, {}), **value} if isinstance(value, dict) else value
    return whole


def train(kind: str, folder: Path, **tables: Any) -> Path:
    """Train one of them and return its folder."""
    return Path(rl2cli.train(spec(kind, **tables), run_dir=folder).run_dir)


def resume(folder: Path, total_frames: int | None = None) -> Summary:
    """Go on with a run."""
    return session.resume(str(folder), view=QuietView(sys.stderr), total_frames=total_frames)


def newest(run: Path) -> Checkpoint:
    """Load the newest checkpoint of a run, changing nothing in its folder."""
    store = CheckpointStore(run / "checkpoints", read_only=True)
    try:
        return store.newest()
    finally:
        store.close()


def digests(run: Path) -> dict[int, str]:
    """Return the hash of every checkpoint of an undamaged run."""
    folder = CheckpointFolder(run / "checkpoints")
    return {frames: digest(folder.load(frames, segments=True)) for frames in folder.list_frames()}


def digest(checkpoint: Checkpoint) -> str:
    """Return a hash of everything in a checkpoint that the rest of the run depends on, but for its spec."""
    whole = hashlib.sha256(str(checkpoint.metadata["metrics_offset"]).encode())
    for part in (checkpoint.state, *(segment.tensors for segment in checkpoint.segments)):
        tensors, tree = flatten(part)
        whole.update(json.dumps(tree, sort_keys=True).encode())
        for name in sorted(tensors):
            whole.update(name.encode() + tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def outcome(run: Path) -> str:
    """Return a hash of what a run has learned and recorded; how often it was saved on the way does not count."""
    checkpoint = newest(run)
    tensors, _ = flatten(checkpoint.state["algorithm"])
    whole = hashlib.sha256(str(checkpoint.frames).encode() + (run / "metrics.jsonl").read_bytes())
    for name in sorted(tensors):
        whole.update(name.encode() + tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
