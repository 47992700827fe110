"""A training that lasts long enough to be stopped, and what decides whether two of them are the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rl2cli.training.digest import Digest

LONG = """\
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
"""Seconds of training, of which a good part is left when a first checkpoint or a first line of metrics is seen."""


def digest(run: Path) -> Digest:
    """Return the digest of a run's last checkpoint."""
    from rl2cli.training.checkpoint import CheckpointStore
    from rl2cli.training.digest import digest_of

    store = CheckpointStore(run / "checkpoints", read_only=True)
    try:
        return digest_of(store.newest(), run / "metrics.jsonl")
    finally:
        store.close()
