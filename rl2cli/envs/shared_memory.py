"""Arrays in memory that several processes map: a file that loses its name as soon as all of them have it."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import tempfile
from pathlib import Path

import numpy as np

from rl2cli.envs.buffers import Layout
from rl2cli.errors import StorageError
from rl2cli.spaces import Array

_ALIGNMENT = 64


class SharedArrays:
    """Named arrays over one shared mapping.

    Unlike `multiprocessing.shared_memory`, views may outlive it, and nothing is left behind by a killed process.

    Args:
        layout: Name → (shape, dtype).
        path: Mapping made by another process; None makes a new one.

    Raises:
        StorageError: There is no room for it.
    """

    def __init__(self, layout: Layout, path: str | None = None) -> None:
        offsets, size = _offsets(layout)
        self.path = path or _create(size)
        with Path(self.path).open("r+b") as file:
            memory = mmap.mmap(file.fileno(), size)
        self.arrays: dict[str, Array] = {
            name: np.ndarray(shape, dtype, buffer=memory, offset=offsets[name])
            for name, (shape, dtype) in layout.items()
        }

    def forget_path(self) -> None:
        """Remove the file's name; the memory lives until the last process lets go of it."""
        with contextlib.suppress(OSError):  # Windows keeps a mapped file's name
            Path(self.path).unlink(missing_ok=True)


def _offsets(layout: Layout) -> tuple[dict[str, int], int]:
    offsets, size = {}, 0
    for name, (shape, dtype) in layout.items():
        offsets[name] = size
        size += -(-math.prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT
    return offsets, max(size, _ALIGNMENT)


def _create(size: int) -> str:
    """Return the path of a new file of `size` bytes, in memory where the system has a folder for it."""
    problem: OSError | None = None
    for folder in ("/dev/shm", tempfile.gettempdir()):
        if not Path(folder).is_dir():
            continue
        handle, path = tempfile.mkstemp(prefix="rl2-", dir=folder)
        try:
            _reserve(handle, size)
            return path
        except OSError as error:
            problem = error
            Path(path).unlink()
        finally:
            os.close(handle)
    raise StorageError(
        f"no room for {size} bytes of memory shared with worker processes: {problem}",
        hint="free some of /dev/shm (in a container: a larger --shm-size), or write workers = 0 under [env]",
        place=folder,
    ) from problem


def _reserve(handle: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):  # a sparse file would end the process with SIGBUS when it fills up
        os.posix_fallocate(handle, 0, size)
    else:
        os.truncate(handle, size)
