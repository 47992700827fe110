"""Trains on disks that are too small, of many sizes, and goes on with each run once there is room.

`python tests/rigs/full_disk.py --count 20 --seed 1`, as root on Linux: each disk is a tmpfs. Every run has to end
without a traceback, leave what it saved loadable and nothing half-written, and end as the run on a large disk did once
it is resumed with room.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rig_runs

from rl2cli.errors import NoCheckpointError, StorageError

LEFTOVERS = ("**/.saving-*", "**/.removing-*", "**/.*.tmp")


def can_mount() -> bool:
    """Return whether this user may mount a disk of memory."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder), 64):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a disk of this size on `folder`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "rl2-rig", folder], check=True, stderr=-3)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def run(count: int, seed: int, root: Path, kinds: tuple[str, ...] = rig_runs.KINDS) -> tuple[Counter[str], list[str]]:
    """Train on `count` disks for each kind of run; return what happened how often, and the failures."""
    seen: Counter[str] = Counter()
    failures: list[str] = []
    for kind in kinds:
        reference = rig_runs.train(kind, root / kind)
        expected, whole = rig_runs.outcome(reference), _kilobytes(reference)
        for number in range(count):
            draw = random.Random(f"{seed} {kind} {number}")
            size = int(whole * (0.1 + 1.0 * number / max(1, count - 1))) + draw.randrange(8)
            mode = draw.choice(["continue", "stop"])
            ended, problems = _on_disk(kind, size, mode, root / "disk", expected)
            seen[f"{kind}, {mode}: {ended}"] += 1
            failures += [f"{kind} on {size} kB, {mode}, seed {seed}: {problem}" for problem in problems]
    return seen, failures


def _on_disk(kind: str, size: int, mode: str, folder: Path, expected: str) -> tuple[str, list[str]]:
    folder.mkdir(exist_ok=True)
    problems: list[str] = []
    with small_disk(folder, size), _thread_errors(problems):
        run = folder / "run"
        ended = _train(kind, run, mode, problems)
        problems += [f"{path} is left" for pattern in LEFTOVERS for path in run.glob(pattern)]
        try:
            rig_runs.newest(run)
        except NoCheckpointError as error:
            if "damaged" in error.message:
                problems.append(error.message)
            return f"{ended}, nothing saved", problems
        subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
        rig_runs.resume(run)
        if rig_runs.outcome(run) != expected:
            problems.append("resumed, it ended otherwise")
    return ended, problems


def _train(kind: str, run: Path, mode: str, problems: list[str]) -> str:
    try:
        rig_runs.train(kind, run, checkpoint={"on_storage_error": mode})
    except StorageError as error:
        if "\n" in error.message or not error.hint:
            problems.append(f"not a clear line: {error.message!r}, {error.hint!r}")
        return "ended with 5"
    except Exception as error:
        problems.append(f"a traceback: {type(error).__name__}: {error}")
        return "traceback"
    return "ended with 0"


@contextmanager
def _thread_errors(problems: list[str]) -> Iterator[None]:
    """Count what a thread prints a traceback of."""
    before = threading.excepthook

    def caught(arguments: Any) -> None:
        problems.append(f"a traceback in {arguments.thread}: {arguments.exc_value}")

    threading.excepthook = caught
    try:
        yield
    finally:
        threading.excepthook = before


def _kilobytes(folder: Path) -> int:
    return sum(4 * (1 + path.stat().st_size // 4096) for path in folder.rglob("*"))


def main() -> int:
    """Run the rig as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        seen, failures = run(arguments.count, arguments.seed, Path(root))
    for what, number in sorted(seen.items()):
        print(f"{number:6} {what}")
    print("\n".join(failures) or "no failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
