"""What a batch of environments writes about itself while it works; see `watchdog_process` for the places."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from rl2cli.envs.shared_memory import SharedArrays
from rl2cli.envs.watchdog_process import COUNT, ENVIRONMENT, FIRST, HEADER

Numbers: TypeAlias = "memoryview[int]"
"""int64; an item is written in tens of nanoseconds, a numpy array's takes twice as long."""


def new_heartbeat(num_envs: int, first: int = 0) -> Numbers:
    """Return the heartbeat of environments `first` to `first + num_envs - 1` in memory of this process."""
    return _begun(np.zeros(HEADER + 2 * num_envs, np.int64), num_envs, first)


class SharedHeartbeat:
    """A heartbeat that another process maps by its path.

    Args:
        num_envs: How many environments it is of.
        first: Number of the first.
        path: Made by another process; None makes a new one.

    Raises:
        StorageError: There is no room for it.
    """

    def __init__(self, num_envs: int, first: int = 0, path: str | None = None) -> None:
        self._shared = SharedArrays({"numbers": ((HEADER + 2 * num_envs,), np.dtype(np.int64))}, path)
        self.path, array = self._shared.path, self._shared.arrays["numbers"]
        self.numbers: Numbers = array.data if path else _begun(array, num_envs, first)

    def forget_path(self) -> None:
        """Remove the file's name, once the other process has it."""
        self._shared.forget_path()


def _begun(array: np.ndarray, num_envs: int, first: int) -> Numbers:
    array[ENVIRONMENT], array[FIRST], array[COUNT] = -1, first, num_envs
    array[HEADER + num_envs :] = -1
    return array.data
