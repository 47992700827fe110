"""How long each command that only looks takes to answer: `python tests/benchmarks/startup.py [--count N]`.

Wall time is what a user waits; processor time is what it costs, and less disturbed by what else the machine does. The
first column is Python itself. Ends with 1 where a command takes longer than `LIMIT` seconds of processor time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

LIMIT = 0.3
REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = (
    "--help",
    "list",
    "list --json",
    "list --help",
    "show ppo",
    "show cartpole.toml",
    "explain algorithm.gae_lambda",
    "validate cartpole.toml",
    "validate wrong.toml",
    "train wrong.toml",
    "schema",
    "register list",
)
WRONG = 'total_frames = 0\n\n[env]\nid = "CartPole-v1"\n\n[algorithm]\ngama = 0.9\n'


class Taken(NamedTuple):
    """Seconds."""

    processor: float
    wall: float


def timed(command: list[str], folder: Path) -> Taken:
    """Run a command once."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed: read as bytecode, written by the first one
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    after, ended = os.times(), time.perf_counter()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Taken(used, ended - began)


def fastest(command: list[str], folder: Path, count: int) -> Taken:
    """Return the least of `count` times."""
    timed(command, folder)  # what is to be kept is written
    found = [timed(command, folder) for _ in range(count)]
    return Taken(min(each.processor for each in found), min(each.wall for each in found))


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10)
    count = parser.parse_args().count
    slow = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "wrong.toml").write_text(WRONG, encoding="utf-8")
        bare = fastest([sys.executable, "-c", "pass"], folder, count)
        print(f"{'command':<32} {'processor':>9} {'wall':>6}\n{'python':<32} {bare.processor:9.3f} {bare.wall:6.3f}")
        for words in COMMANDS:
            taken = fastest([sys.executable, "-m", "rl2cli", *words.split()], folder, count)
            slow += taken.processor > LIMIT
            print(f"rl2 {words:<28} {taken.processor:9.3f} {taken.wall:6.3f}{'  slow' * (taken.processor > LIMIT)}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
