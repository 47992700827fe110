"""Every random number of a run comes from (the run's seed, a purpose, a counter), so no part disturbs another."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive_seed(seed: int, purpose: str, counter: int = 0) -> int:
    """Return a seed in [0, 2^63) for one purpose: the first bytes of sha256 of the three."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{counter}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def make_generator(seed: int, purpose: str, device: torch.device, counter: int = 0) -> torch.Generator:
    """Return a new generator on `device` for one purpose."""
    return torch.Generator(device).manual_seed(derive_seed(seed, purpose, counter))


def environment_seeds(seed: int, purpose: str, num_envs: int, counter: int = 0) -> np.ndarray:
    """Return the base seed of each of `num_envs` environments, [N] int64."""
    sequence = np.random.SeedSequence(derive_seed(seed, purpose, counter))
    return (sequence.generate_state(num_envs, np.uint64) >> np.uint64(1)).astype(np.int64)
