"""What a resume says before it does what may take long: verify a replay buffer, replay the running episodes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from rl2cli.errors import UsageError
from rl2cli.reporting.figures import count, duration
from rl2cli.training.checkpoint_folder import Checkpoint, CheckpointFolder
from rl2cli.training.checkpoint_format import DamagedError, Manifest
from rl2cli.training.room import in_words

STEP_SECONDS = "step_seconds"
"""In a checkpoint's metadata: seconds that one environment's step took."""
_LEAST = 1.0
"""Seconds; what takes less is not announced."""
_SAMPLE = bytes(2**20)


def of_segments(checkpoints: Path) -> str | None:
    """Return how long the segments of the newest checkpoint take to verify and read; None where that is no time."""
    with suppress(DamagedError, UsageError, OSError):
        folder = CheckpointFolder(checkpoints)
        frames = folder.list_frames()
        stamps = Manifest.read(folder.checkpoint(frames[-1])).segments if frames else []
        size = sum(stamp.size for stamp in dict.fromkeys(stamps))
        seconds = 2 * size * _seconds_per_byte()  # verified all together, then each once more as it is read
        if seconds >= _LEAST:
            return f"verifying and reading {in_words(size)} of replay, about {duration(seconds)}"
    return None


def of_episodes(checkpoint: Checkpoint) -> str | None:
    """Return how long the running episodes take to replay; None where that is no time."""
    collector = checkpoint.state.get("collector")
    steps = sum(_lengths(collector.get("environments"))) if isinstance(collector, Mapping) else 0
    known = checkpoint.metadata.get(STEP_SECONDS)
    seconds = steps * known if isinstance(known, float) else 0.0
    if seconds < _LEAST:
        return None
    return f"replaying {count(steps)} steps of the running episodes, about {duration(seconds)}"


def _seconds_per_byte() -> float:
    hashlib.sha256(_SAMPLE)  # the first one warms up
    began = time.perf_counter()
    hashlib.sha256(_SAMPLE)
    return (time.perf_counter() - began) / len(_SAMPLE)


def _lengths(tree: Any) -> Iterator[int]:
    """Yield the lengths of the action logs of all environments, wherever workers have put them."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            if name == "length" and isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.integer):
                yield int(value.sum())
            else:
                yield from _lengths(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _lengths(value)
