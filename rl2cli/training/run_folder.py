"""The folder of a run: made so that no two runs share one, written by one process at a time, found again by name."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

from filelock import FileLock, Timeout

from rl2cli.durable import explained, fsync_folder, make_folder, open_regular, read_regular, write_text_atomic
from rl2cli.errors import UsageError

LOCK_FILE = ".lock"
HOLDER_FILE = ".lock-holder"
GROUP_FILE = "seeds.json"
"""Marks a folder with a run for each of several seeds."""
_NEW = "name a new or empty folder"
_JSON_LIMIT = 16 * 2**20
_STAMP = re.compile(r"(\d{8}-\d{6})-s\d+(?:-\d+)?", re.ASCII)
_START_MARKS = ("run.json", "resolved.toml", "checkpoints")
LEFTOVER = re.compile(r"\..+\.\d+\.tmp")
"""Name of what a process leaves that is killed while it replaces a file."""
_OF_A_FIRST_SAVE = (".saving-", ".best.json.")
"""Begin the names of what a killed save leaves in `checkpoints` where there was none before."""
CHECKPOINT_NAME = re.compile(r"\d{15,}", re.ASCII)
"""Name of a checkpoint's folder in `checkpoints`: its frame number."""
_LOCK_PATIENCE = 0.1
"""Seconds: whoever asks whether a run is running has hold of its lock for a moment."""

RunState = Literal["running", "finished", "target reached", "stopped", "failed", "killed", "unknown"]
"""What became of a run; unknown where nothing in its folder says so."""
_ENDED: tuple[RunState, ...] = ("finished", "target reached", "stopped", "failed")


class RunFolder:
    """Paths of one run; holds the folder's lock from `create` or `lock` until `close`."""

    def __init__(self, path: Path, started: datetime | None = None) -> None:
        self.path = path
        self.started = started
        """When `create` made it, in UTC; None for a folder that was opened. `run.json` has it as `started`."""
        self.spec = path / "spec.toml"
        self.resolved = path / "resolved.toml"
        self.run_json = path / "run.json"
        self.metrics = path / "metrics.jsonl"
        self.timings = path / "timings.jsonl"
        self.tensorboard = path / "tensorboard"
        self.checkpoints = path / "checkpoints"
        self.videos = path / "videos"
        self.summary = path / "summary.json"
        self.log = path / "log.txt"
        self._lock = FileLock(path / LOCK_FILE, timeout=_LOCK_PATIENCE, poll_interval=0.01, thread_local=False)

    @classmethod
    def create(cls, root: Path, name: str, seed: int, run_dir: Path | None = None, *, again: bool = False) -> RunFolder:
        """Make and lock a new run's folder: `run_dir`, else `root/name/<UTC time>-s<seed>`.

        With `again`, `run_dir` may hold what a run has left that ended before it saved anything.

        Raises:
            UsageError: `run_dir` holds a run or anything else, or another process is just starting one there.
            StorageError: the folder cannot be made.
        """
        started = datetime.now(UTC)
        with explained("making the run folder"):
            path = _make_stamped(root / name, started, seed) if run_dir is None else run_dir
            folder = cls(path, started)
            if run_dir is not None:
                try:
                    _require_free(run_dir, again)
                except UsageError:
                    if _is_locked(run_dir / LOCK_FILE):  # whatever is there, the other process has just put it there
                        raise folder._held() from None
                    raise
                make_folder(run_dir)
        folder.lock()
        try:
            _require_free(path, again)  # once more: another process may have had the lock until now
        except UsageError:
            folder.close()
            raise
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return the folder of an existing run, for reading; `lock` it before writing.

        Raises:
            UsageError: there is no run in it.
        """
        if not is_run(path):
            raise UsageError(
                "this folder does not hold a run", hint="`rl2 train` prints the run's folder", place=str(path)
            )
        return cls(path)

    def lock(self) -> None:
        """Become the only writer of this folder.

        Raises:
            UsageError: another process writes here, or a link in the folder leads elsewhere.
            StorageError: the folder cannot be written to.
        """
        with explained("locking the run folder"):
            try:
                self._lock.acquire()
            except Timeout as error:
                raise self._held() from error
        try:
            self._require_no_links()
            self._remove_leftovers()
            write_text_atomic(self.path / HOLDER_FILE, json.dumps({"pid": os.getpid()}) + "\n")
        except BaseException:
            self.close()
            raise

    def state(self, summary: Mapping[str, object] | None = None) -> RunState:
        """Return what became of the run, by its lock and its summary, which is read where it is not given.

        A process that ends takes its name off the folder, also after an error; one that was killed cannot.
        """
        if (self.path / HOLDER_FILE).is_file():
            return "running" if self._is_held() else "killed"
        status = (read_json(self.summary) if summary is None else summary).get("status")
        return next((known for known in _ENDED if known == status), "unknown")

    def holder(self) -> int | None:
        """Return the number of the process that writes here, or did until it was killed."""
        pid = read_json(self.path / HOLDER_FILE).get("pid")
        return pid if type(pid) is int and 0 < pid < 2**31 else None

    def close(self) -> None:
        """Let other processes write here."""
        if self._lock.is_locked:
            with suppress(OSError):
                (self.path / HOLDER_FILE).unlink(missing_ok=True)
            self._lock.release()

    def write_json(self, path: Path, content: Mapping[str, object]) -> None:
        """Replace one of the folder's small JSON files in one step.

        Raises:
            StorageError: the disk refused; the old file is as it was.
        """
        write_text_atomic(path, json.dumps(content, indent=2, default=str) + "\n")

    def write_run_json(self, facts: Mapping[str, object]) -> None:
        """Write `run.json`: when the run started, by which the latest run is found, and `facts`.

        Raises:
            StorageError: the disk refused.
        """
        started = self.started or started_at(self.path)
        self.write_json(self.run_json, {"started": started.isoformat(), **facts})

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _held(self) -> UsageError:
        pid = self.holder()
        holder = f" (process {pid})" if pid is not None else ""
        return UsageError(
            f"another process{holder} is writing to this run folder",
            hint="wait until it has ended, or stop it; it saves before it stops",
            place=str(self.path),
        )

    def _is_held(self) -> bool:
        """Return whether the process named as the holder is still there.

        The lock decides, also on a disk that several machines share: a shared one cannot be had beside the writer's.
        Where it cannot be asked, a process of that number counts if it is no younger than its name on the folder.
        """
        held = _is_locked(self.path / LOCK_FILE)
        return held if held is not None else _is_alive(self.holder(), self.path / HOLDER_FILE)

    def _remove_leftovers(self) -> None:
        """Remove what a process left that was killed while it replaced a file."""
        for entry in list(self.path.iterdir()):
            if LEFTOVER.fullmatch(entry.name):
                with suppress(OSError):
                    entry.unlink()

    def _require_no_links(self) -> None:
        # A run folder that arrived from elsewhere must not make rl2 write outside of it.
        for entry in sorted(self.path.iterdir()):
            if entry.is_symlink():
                raise UsageError(
                    f"{entry.name} in this run folder is a link, and rl2 does not write through links",
                    hint="put the file or folder itself in its place",
                    place=str(entry),
                )


class FoundRun(NamedTuple):
    """A run, and the checkpoint of it that was asked for."""

    path: Path
    checkpoint: int | None = None
    """Frame number, where the folder of a checkpoint was named."""


def find_run(where: str | None = None, root: Path = Path("outputs")) -> FoundRun:
    """Return the run that a user means by `where`.

    None and `latest` mean the last started run of any name under `root`. Else it is a run folder, a checkpoint's
    folder in one, a folder that contains runs (the last started one counts), or the name of a run under `root`.

    Raises:
        UsageError: there is no such run.
    """
    if where is None or where == "latest":
        return FoundRun(_latest_in(root, "there is no run yet"))
    path = Path(where)
    if not path.exists() and (root / where).is_dir():
        path = root / where
    if not path.exists():
        raise UsageError("there is no such run folder", hint=f"`latest` is the last run under {root}", place=where)
    inner = path.absolute()
    if CHECKPOINT_NAME.fullmatch(inner.name) and inner.parent.name == "checkpoints":
        return FoundRun(inner.parent.parent, int(inner.name))
    if inner.name == "checkpoints" and is_run(inner.parent):
        return FoundRun(inner.parent)
    return FoundRun(path if is_run(path) else _latest_in(path, "this folder neither is a run nor contains one"))


def find_runs(where: str, root: Path = Path("outputs")) -> list[Path]:
    """Return every run that a user means by `where`: one run, or all runs in a folder, from the first to the last.

    Raises:
        UsageError: there is none.
    """
    named = Path(where) if Path(where).exists() else root / where
    inside = list(runs_in(named)) if named.is_dir() and not is_run(named) else []
    if not inside or named.name == "checkpoints":
        return [find_run(where, root).path]
    return sorted(inside, key=lambda path: (started_at(path), path.name))


def is_run(path: Path) -> bool:
    """Return whether a run was started in this folder."""
    return path.is_dir() and any((path / mark).exists() for mark in _START_MARKS)


def group_of(run: Path) -> Path | None:
    """Return the folder of the group of seeds that `run` belongs to, or None."""
    parent = run.absolute().parent
    return parent if (parent / GROUP_FILE).is_file() else None


def started_at(path: Path) -> datetime:
    """Return when a run started, by its `run.json`, else by its folder's name; a folder that says nothing is oldest."""
    with suppress(ValueError, OverflowError):
        stamp = datetime.fromisoformat(str(read_json(path / "run.json").get("started")))
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).astimezone(UTC)
    match = _STAMP.fullmatch(path.name)
    with suppress(ValueError):
        if match is not None:
            return datetime.strptime(match[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in one of a run folder's small JSON files; empty where there is none that can be read."""
    try:
        value = json.loads(read_regular(path, _JSON_LIMIT))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_locked(path: Path) -> bool | None:
    """Return whether a process has the lock in this file; None where the platform or the disk does not say."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        with open_regular(path, os.O_RDONLY) as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False  # closing lets go of it
    except OSError:
        return None


def _is_alive(pid: int | None, named_in: Path) -> bool:
    """Return whether process `pid` runs and began before the file `named_in` was written."""
    if pid is None:
        return False
    import psutil

    try:
        return bool(psutil.Process(pid).create_time() <= named_in.stat().st_mtime + 1.0)
    except psutil.AccessDenied:  # it is there, and another user's
        return True
    except (psutil.Error, OSError):
        return False


def _make_stamped(parent: Path, started: datetime, seed: int) -> Path:
    """Make `parent/<stamp>`, or `<stamp>-2` and so on where that was taken; `mkdir` decides, so it is race-free."""
    make_folder(parent)
    stamp = f"{started:%Y%m%d-%H%M%S}-s{seed}"
    count = 1
    while True:
        path = parent / (stamp if count == 1 else f"{stamp}-{count}")
        try:
            path.mkdir()
        except FileExistsError:
            count += 1
        else:
            fsync_folder(parent)
            return path


def holds_checkpoints(folder: Path) -> bool:
    """Return whether there is a checkpoint in the folder `checkpoints` of a run, or what is left of one."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return any(name not in ("segments", "best.json") and not name.startswith(_OF_A_FIRST_SAVE) for name in names)


def _require_free(path: Path, again: bool) -> None:
    """Refuse a folder for a new run that has anything in it but the lock of this or a killed start.

    With `again`, it may have all that a run leaves which has saved nothing.
    """
    if is_run(path):
        if again and not holds_checkpoints(path / "checkpoints"):
            return
        hint = f"go on with it: `rl2 resume {path}`, or the same command with --resume"
        raise UsageError("this folder already holds a run", hint=hint, place=str(path))
    if path.exists() and not path.is_dir():
        raise UsageError("this is a file, not a folder for a run", hint=_NEW, place=str(path))
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        others = [name for name in names if name not in (LOCK_FILE, HOLDER_FILE)]
        if again:
            others = [name for name in others if name != "spec.toml" and not LEFTOVER.fullmatch(name)]
        if others:
            raise UsageError(f"this folder is not empty: it holds {others[0]}", hint=_NEW, place=str(path))


def _latest_in(folder: Path, otherwise: str) -> Path:
    runs = list(runs_in(folder))
    if not runs:
        raise UsageError(otherwise, hint="start one: `rl2 train runs/cartpole.toml`", place=str(folder))
    return max(runs, key=lambda path: (started_at(path), path.name))


def runs_in(folder: Path, depth: int = 1) -> Iterator[Path]:
    """Yield the runs directly in `folder`, those in the folders in it, and those of the groups of seeds there."""
    for child in _subfolders(folder):
        if is_run(child):
            yield child
        elif depth or (child / GROUP_FILE).is_file():
            yield from runs_in(child, 0)


def _subfolders(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.is_dir()]
    except OSError:
        return []
