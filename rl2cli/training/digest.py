"""A digest of what a run has come to: the same for two runs only if every bit that training goes on from is.

What depends on clock, folder or disk is left out, and so is how a replay buffer was cut into pieces.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rl2cli.algorithms.replay_order import is_buffer_state, rows_in_order
from rl2cli.durable import open_regular
from rl2cli.errors import NoCheckpointError
from rl2cli.segment import Segment
from rl2cli.training.checkpoint_folder import Checkpoint
from rl2cli.training.state_tree import JsonValue, flatten

_BLOCK = 2**20
_EXTRA_STATE = "_extra_state"
_PARTS = {
    "generators": "generators",
    "collector": "environments",
    "episodes": "episodes",
    "evaluations": "evaluations",
    "evaluation": "evaluations",
    "best": "evaluations",
    "filmed_up_to": "videos",
}
"""Key of the Trainer's state → part of the digest; what is not here is a counter."""


class Digest(NamedTuple):
    """Hashes of a checkpoint and its record, all sha256 in hexadecimal."""

    frames: int
    whole: str
    """Of `parts`."""
    parts: dict[str, str]


def digest_of(checkpoint: Checkpoint, metrics: Path) -> Digest:
    """Return the digest of a checkpoint, whose segments are used up, and of the record as long as it was then.

    Raises:
        NoCheckpointError: The checkpoint is whole, but its content is not what rl2 writes.
        StorageError: A segment changed after it was checked.
    """
    try:
        hashes = _hash_parts(checkpoint, metrics)
    except (ValueError, TypeError) as error:
        raise NoCheckpointError(
            f"the checkpoint is none that rl2 wrote: {error}",
            hint="name the folder of another checkpoint: `rl2 show RUN` lists them",
            place=str(checkpoint.path),
        ) from error
    whole = hashlib.sha256("".join(f"{name} {value}\n" for name, value in hashes.items()).encode())
    return Digest(checkpoint.frames, whole.hexdigest(), hashes)


def _hash_parts(checkpoint: Checkpoint, metrics: Path) -> dict[str, str]:
    parts: dict[str, dict[str, Any]] = {}
    buffers: list[Mapping[str, Any]] = []
    for key, value in _leaves(checkpoint.state, buffers):
        parts.setdefault(_part(key), {})[key] = value
    hashes = {name: _hash_state(content) for name, content in parts.items()}
    hashes["replay"] = _hash_replay(checkpoint.segments, buffers)
    hashes["metrics"] = _hash_start(metrics, checkpoint.metadata.get("metrics_offset"))
    return dict(sorted(hashes.items()))


def _leaves(state: Mapping[str, Any], buffers: list[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield what is one or two levels down in a Trainer's state, by name; replay buffers go to `buffers`."""
    for key, value in state.items():
        if key not in ("algorithm", "collector") or not isinstance(value, Mapping):
            yield key, value
            continue
        for inner, part in value.items():
            if inner.endswith(_EXTRA_STATE) and isinstance(part, Mapping):
                buffers += [own for own in part.values() if is_buffer_state(own)]
                part = {name: own for name, own in part.items() if not is_buffer_state(own)}
            yield f"{key}.{inner}", part


def _part(key: str) -> str:
    if key == "collector.explore":
        return "generators"
    first, _, inner = key.partition(".")
    if first != "algorithm":
        return _PARTS.get(first, "counters")
    if "optimizer" in inner:
        return "optimiser"
    return "algorithm" if inner.endswith(_EXTRA_STATE) else "weights"


def _hash_state(content: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    tensors, tree = flatten(dict(sorted(content.items())))
    for name, tensor in sorted(tensors.items()):
        digest.update(_heading(name, tensor) + _bytes(tensor))
    digest.update(_dump(tree))
    return digest.hexdigest()


def _hash_replay(segments: Sequence[Segment], buffers: Sequence[Mapping[str, Any]]) -> str:
    if len(buffers) == 1:
        return _hash_rows(segments, buffers[0])
    digest = hashlib.sha256()  # a plugin's own; it decides what its segments are
    for segment in segments:
        digest.update(_hash_state(segment.tensors or {}).encode())
        segment.tensors = None
    return digest.hexdigest()


def _hash_rows(segments: Sequence[Segment], state: Mapping[str, Any]) -> str:
    """Return the hash of a replay buffer: of each column of each environment, from the oldest row to the newest."""
    columns: dict[tuple[int, str], Any] = {}
    for environment, rows in rows_in_order(segments, state):
        for name, column in rows.items():
            place = environment, name
            if place not in columns:
                columns[place] = hashlib.sha256(_heading(name, column[:0]))
            columns[place].update(_bytes(column))
    positions = {key: value for key, value in state.items() if key not in ("length", "stack")}
    digest = hashlib.sha256(_hash_state(positions).encode())
    for (environment, name), column in sorted(columns.items()):
        digest.update(f"{environment} {name} {column.hexdigest()}\n".encode())
    return digest.hexdigest()


def _hash_start(path: Path, length: object) -> str:
    """Return the hash of the first `length` bytes of a file, or of all it has where it is shorter or missing."""
    digest = hashlib.sha256()
    left = length if type(length) is int and length >= 0 else 0
    try:
        with open_regular(path, os.O_RDONLY) as file:
            while left > 0 and (block := file.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
    except OSError:
        digest.update(b"unreadable")
    return digest.hexdigest()


def _heading(name: str, tensor: Tensor) -> bytes:
    return f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode()


def _bytes(tensor: Tensor) -> bytes:
    array: np.ndarray[Any, Any] = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return array.tobytes()


def _dump(tree: JsonValue) -> bytes:
    return json.dumps(tree, sort_keys=True).encode("ascii")
