"""Each rig at a hundredth of its size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the rigs fork")


def run(rig: str, tmp_path: Path, *arguments: str) -> str:
    """Run a rig in a process without threads, and return its table."""
    path = Path(__file__).with_name(f"{rig}.py")
    words = [sys.executable, str(path), *arguments]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def numbers(table: str, row: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(row)]
    return line.removeprefix(row).split()


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["dqn CartPole-v1 native", "ppo CartPole-v1 overlapped"])
def test_killed_runs_end_as_if_nothing_had_happened(tmp_path: Path, pair: str) -> None:
    kills, _, runs, identical, _ = numbers(run("kill_runs", tmp_path, "--count", "1", "--only", pair), pair)
    assert int(kills) >= 1
    assert runs == identical


@pytest.mark.slow
def test_signalled_runs(tmp_path: Path) -> None:
    signals, right, _ = numbers(run("signals", tmp_path, "--count", "7"), "all")
    assert signals == right == "7"


@pytest.mark.slow
def test_one_of_many_writes(tmp_path: Path) -> None:
    table = run("one_writer", tmp_path, "--count", "40")
    assert numbers(table, "train")[1:] == numbers(table, "resume")[1:] == ["yes"]
