"""What the recipes train in tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rl2cli.training.digest import Digest

RECIPES = Path(__file__).resolve().parents[2] / "runs" / "clusters"
SPEC = """\
name = "long"
total_frames = 6_000
threads = 1
compile = false

[env]
id = "CartPole-v1"
num_envs = 4
workers = 0

[network]
hidden_sizes = [8]

[algorithm]
rollout_length = 16
minibatch_size = 64
epochs = 1

[evaluation]
every = 6_000
episodes = 1

[checkpoint]
every = 250

[logging]
every = 64
"""
LEARNERS = "\n[scale]\ngradient_shards = 2\n"
"""More of the spec, for several learners."""
SHARDS = '\n[scale]\nengine = "local"\nenvs_per_worker = 2\n'
"""More of it, for workers."""


def write_spec(folder: Path, more: str = "") -> str:
    """Write the spec into `folder` and return its name."""
    (folder / "long.toml").write_text(SPEC + more)
    return "long.toml"


def checkpoints(run: Path) -> int:
    """Return how many checkpoints a run has so far."""
    return len(list((run / "checkpoints").glob("0*")))


def digest(run: Path) -> Digest:
    """Return the digest of a run's last checkpoint."""
    from rl2cli.training.checkpoint import CheckpointStore
    from rl2cli.training.digest import digest_of

    store = CheckpointStore(run / "checkpoints", read_only=True)
    try:
        return digest_of(store.newest(), run / "metrics.jsonl")
    finally:
        store.close()
