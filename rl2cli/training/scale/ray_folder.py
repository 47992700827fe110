"""Where a connection to Ray keeps its files: a temporary folder that goes with its learner, or at the next start."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rl2cli.durable import explained
from rl2cli.training.scale import ray_reaper

_PREFIX = "rl2-ray-"
_END_SECONDS = 5.0
_LOCK = ".lock"
"""Behind a folder's name: the file beside it that is locked as long as its learner lives."""


class RayFolder:
    """A temporary folder that exists until `close`; one whose learner was killed is removed by the next learner.

    That a learner lives is said by a lock, which ends with its process, however that ends. So no other process with the
    number of a former one is taken for it, and none in another container for a dead one.

    Raises:
        StorageError: It cannot be made.
    """

    def __init__(self) -> None:
        remove_orphans()
        self.path = Path(tempfile.gettempdir()) / f"{_PREFIX}{secrets.token_hex(4)}"
        """The folder."""
        with explained("making a temporary folder for Ray"):
            self._lock = _lock(self.path)
            self._lock.acquire()
            self.path.mkdir(mode=0o700)  # once it is there its lock is held

    def close(self) -> None:
        """Remove the folder."""
        _remove(self.path, self._lock)


class Reaper:
    """A process that ends what is left of Ray and removes the folder, once `end` is called or this process is gone.

    A raylet that is killed with its learner leaves processes that look for its head for minutes.

    Args:
        folder: Of the cluster.
    """

    def __init__(self, folder: RayFolder) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", ray_reaper.__file__, str(folder.path), str(_lock_file(folder.path))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder.path.anchor,
            text=True,
            start_new_session=True,
        )

    def watch(self, pids: Iterable[int]) -> None:
        """Have these processes of the cluster ended then."""
        began = {pid: ray_reaper.begun(pid) for pid in pids if pid != self._process.pid}
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.writelines(f"{pid} {when}\n" for pid, when in began.items() if when is not None)
            self._process.stdin.flush()

    def end(self) -> None:
        """Do it now."""
        with suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=_END_SECONDS)


def remove_orphans() -> None:
    """Remove the folders of this user's learners that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/"):
        with suppress(OSError, Timeout):  # a timeout: its learner is alive
            if not path.is_symlink() and _lock_file(path).is_file() and _is_ours(path):
                lock = _lock(path)
                lock.acquire(timeout=0)
                _remove(path, lock)


def _remove(folder: Path, lock: FileLock) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    if not folder.exists():  # else its processes are still writing there: the next learner removes it
        with suppress(OSError):
            _lock_file(folder).unlink(missing_ok=True)


def _lock_file(folder: Path) -> Path:
    return folder.with_name(folder.name + _LOCK)


def _lock(folder: Path) -> FileLock:
    return FileLock(_lock_file(folder), thread_local=False)


def _is_ours(path: Path) -> bool:
    return not hasattr(os, "getuid") or path.lstat().st_uid == os.getuid()
