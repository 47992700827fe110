"""Seeds of episodes: a function of the environment's base seed and the episode's number."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

_PACK = struct.Struct("<qq").pack


def episode_seed(base_seed: int, episode: int) -> int:
    """Return the reset seed of an environment's episode: the low 31 bits of a sha256.

    31 bits because backends hand seeds on to C integers and `numpy.random.seed`.
    """
    digest = hashlib.sha256(_PACK(base_seed, episode)).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF


def joint_seed(seeds: np.ndarray) -> int:
    """Return one seed for a backend that has a single generator for all its environments: 63 bits of a sha256."""
    digest = hashlib.sha256(np.ascontiguousarray(seeds, dtype="<i8").tobytes()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
