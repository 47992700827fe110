"""Records what a real run does to its disk, and loads every state that a power cut may leave of it.

`python tests/rigs/power_loss.py --count 64 --seed 1`: at most so many states for each moment, all where there are
fewer. In each, the newest checkpoint that was said to be saved, or a newer one, has to be there, bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import disk_model
import rig_runs
from disk_model import ROOT, Entry, Node, Recorded, Synced, Tree, Written

from rl2cli import durable
from rl2cli.errors import NoCheckpointError
from rl2cli.training.checkpoint import CheckpointStore
from rl2cli.training.checkpoint_format import Snapshot
from rl2cli.training.checkpoint_writer import CheckpointWriter


class Recorder:
    """Writes down every change below `folder` while it is active."""

    def __init__(self, folder: Path) -> None:
        self.folder = os.path.realpath(folder)
        self.recorded = Recorded()
        self.digests: dict[int, str] = {}
        self._nodes: dict[str, Node] = {"": ROOT}
        self._lock = threading.RLock()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Listen to the calls that change a disk."""
        changes = {"mkdir": self._mkdir, "rename": self._rename, "replace": self._rename, "unlink": self._remove}
        changes |= {"remove": self._remove, "rmdir": self._remove, "fsync": self._fsync}
        before = {name: getattr(os, name) for name in changes}
        write = CheckpointWriter.write
        try:
            for name, change in changes.items():
                setattr(os, name, self._after(before[name], change))
            durable.open = self._opening  # type: ignore[attr-defined]
            CheckpointWriter.write = self._saving(write)  # type: ignore[method-assign]
            yield
        finally:
            for name, real in before.items():
                setattr(os, name, real)
            del durable.open  # type: ignore[attr-defined]
            CheckpointWriter.write = write  # type: ignore[method-assign]

    def _after(self, real: Callable[..., Any], change: Callable[..., None]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                done = real(*arguments, **options)
                change(*arguments, **options)
                return done

        return call

    def _opening(self, path: Any, mode: str = "r", **options: Any) -> Any:
        with self._lock:
            file = open(path, mode, **options)  # noqa: SIM115 the caller closes it
            if "x" in mode and (name := self._inside(path)) is not None:
                node = self._nodes[name] = self._new()
                self.recorded.operations.append(Entry(node, None, self._place(name)))
            return file

    def _saving(self, write: Callable[..., None]) -> Callable[..., None]:
        def call(writer: CheckpointWriter, snapshot: Snapshot, *rest: Any) -> None:
            write(writer, snapshot, *rest)
            self.recorded.saved.append((len(self.recorded.operations), snapshot.frames))
            loaded = writer.folder.load(snapshot.frames, segments=True)
            self.digests[snapshot.frames] = rig_runs.digest(loaded)

        return call

    # --- the calls ---

    def _mkdir(self, path: Any, *_: Any, **__: Any) -> None:
        if (name := self._inside(path)) is not None:
            node = self._nodes[name] = self._new()
            self.recorded.folders.add(node)
            self.recorded.operations.append(Entry(node, None, self._place(name)))

    def _rename(self, source: Any, target: Any, **_: Any) -> None:
        old, new = self._inside(source), self._inside(target)
        if old is None or new is None or old not in self._nodes:
            return
        self.recorded.operations.append(Entry(self._nodes[old], self._place(old), self._place(new)))
        moved = {name: node for name, node in self._nodes.items() if name == old or name.startswith(f"{old}/")}
        for name, node in moved.items():
            del self._nodes[name]
            self._nodes[new + name[len(old) :]] = node

    def _remove(self, path: Any, *, dir_fd: int | None = None) -> None:
        name = self._inside(path, dir_fd)
        if name in self._nodes:
            assert name is not None
            self.recorded.operations.append(Entry(self._nodes.pop(name), self._place(name), None))

    def _fsync(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        name = self._inside(path)
        if name not in self._nodes:
            return
        assert name is not None
        node = self._nodes[name]
        if node not in self.recorded.folders:
            self.recorded.operations.append(Written(node, Path(path).read_bytes()))
        self.recorded.operations.append(Synced(node))

    def _new(self) -> Node:
        return 1 + sum(isinstance(change, Entry) for change in self.recorded.operations)

    def _place(self, name: str) -> tuple[Node, str]:
        parent, _, last = name.rpartition("/")
        return self._nodes[parent], last

    def _inside(self, path: Any, dir_fd: int | None = None) -> str | None:
        whole = os.fspath(path)
        if dir_fd is not None:
            whole = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), whole)
        whole = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(whole))), os.path.basename(whole))
        if whole == self.folder:
            return ""
        return whole[len(self.folder) + 1 :] if whole.startswith(f"{self.folder}/") else None


def record(kind: str, root: Path) -> Recorder:
    """Train a run in a folder below `root` and return what it did to the disk."""
    disk = root / f"{kind}-disk"
    disk.mkdir()
    recorder = Recorder(disk)
    with recorder.active():
        rig_runs.train(kind, disk / "outputs" / "run", checkpoint={"every": 128, "keep": 1})
    return recorder


def run(recorder: Recorder, root: Path, most: int, seed: int, every: int = 1) -> tuple[Counter[str], list[str]]:
    """Load what a power cut may leave after each operation, or every so many; return what came of it, and failures."""
    seen, failures, known = Counter[str](), [], set[str]()
    recorded = recorder.recorded
    for after in range(0, len(recorded.operations) + 1, every):
        promised = max([frames for count, frames in recorded.saved if count <= after], default=0)
        for tree in recorded.states(after, random.Random(f"{seed} {after}"), most):
            name = _hash(tree, promised)
            if name in known:
                continue
            known.add(name)
            ended = _load(root / "state", tree, promised, recorder.digests)
            seen[ended.partition(":")[0]] += 1
            if ended not in ("the promised one", "a newer one", "none, none was promised"):
                failures.append(f"seed {seed}, after operation {after} of {len(recorded.operations)}: {ended}")
    return seen, failures


def _load(folder: Path, tree: Tree, promised: int, digests: dict[int, str]) -> str:
    disk_model.write_tree(folder, tree)
    store = CheckpointStore(folder / "outputs" / "run" / "checkpoints", read_only=True)
    try:
        loaded = store.newest()
        best = store.best()
        if loaded.frames < promised:
            return f"lost: {loaded.frames} in place of {promised}"
        if any(digests.get(each.frames) != rig_runs.digest(each) for each in (loaded, best)):
            return f"changed: {loaded.frames}"
        return "the promised one" if loaded.frames == promised else "a newer one"
    except NoCheckpointError as error:
        return f"nothing: {error.message}" if promised else "none, none was promised"
    finally:
        store.close()
        shutil.rmtree(folder)


def _hash(tree: Tree, promised: int) -> str:
    return hashlib.sha256(f"{promised} {_text(tree)}".encode()).hexdigest()


def _text(tree: Tree) -> str:
    return "".join(
        f"{name}={hashlib.sha256(node).hexdigest() if isinstance(node, bytes) else f'({_text(node)})'};"
        for name, node in sorted(tree.items())
    )


def main() -> int:
    """Run the rig as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=64, help="states for each moment, at most")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as root:
        for kind in rig_runs.KINDS:
            recorder = record(kind, Path(root))
            seen, failed = run(recorder, Path(root), arguments.count, arguments.seed)
            recorded = recorder.recorded
            print(f"{kind}: {len(recorded.operations)} operations, {len(recorded.saved)} saves")
            print(f"  {sum(seen.values())} states: {dict(seen)}", flush=True)
            failures += [f"{kind}, {failure}" for failure in failed]
    print(f"{len(failures)} failures", *failures[:30], sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
