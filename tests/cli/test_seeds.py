"""`rl2 train --seeds`: its answer, its errors, and a stop and a resume of the whole group."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_runner import Rl2

from rl2cli.reporting.seeds_view import outcome
from rl2cli.training.run_folder import is_run

RL2 = [sys.executable, "-m", "rl2cli"]


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_an_impossible_number_of_seeds(rl2: Rl2, spec: Path, count: int) -> None:
    done = rl2("train", spec, "--seeds", count)
    assert done.code == 2
    assert "--seeds takes a number from 1 to 1000" in done.stderr
    assert not Path("outputs").exists()


def test_a_wrong_spec_is_reported_once(rl2: Rl2, spec: Path) -> None:
    done = rl2("train", spec, "--seeds", 3, "--set", "algorithm.gama=1")
    assert (done.code, done.stderr.count("gama")) == (2, 2)  # in the message and in the line that it quotes
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("result", "code", "expected"),
    [
        ({}, 3, "failed with exit code 3"),
        ({"frames": 512, "status": "finished"}, 0, "finished at 512 frames"),
        (
            {"frames": 512, "status": "stopped", "wall_seconds": 61.0, "best": {"mean_return": 20.5, "frames": 256}},
            130,
            "stopped at 512 frames, 1 min 01 s, best 20.50 at 256",
        ),
    ],
)
def test_how_a_seed_ended(result: dict[str, object], code: int, expected: str) -> None:
    assert outcome(result, code) == expected


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_group_is_stopped_resumed_and_trained_further(spec: Path, tmp_path: Path) -> None:
    command = [*RL2, "train", str(spec), "--seeds", "2", "--json", "--run-dir", "group", "--frames"]
    process = subprocess.Popen(
        [*command, "10_000_000"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    runs = [tmp_path / "group" / name for name in ("s1", "s2")]
    deadline = time.monotonic() + 120
    while not all(list(run.glob("checkpoints/0*")) for run in runs) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    stopped = json.loads(stdout)
    assert process.returncode == 130, stderr
    assert stopped["status"] == "stopped"
    assert [(run["seed"], run["status"], run["exit_code"]) for run in stopped["runs"]] == [
        (1, "stopped", 130),
        (2, "stopped", 130),
    ]
    assert all(is_run(run) for run in runs)

    frames = max(run["frames"] for run in stopped["runs"]) + 512
    resume = [*RL2, "resume", "group", "--json", "--frames", str(frames)]
    done = subprocess.run(resume, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    finished = json.loads(done.stdout)
    assert finished["status"] == "finished"
    assert all(run["frames"] >= frames for run in finished["runs"])
    means = [run["best"]["mean_return"] for run in finished["runs"]]
    assert finished["best"]["mean_return"] == pytest.approx(sum(means) / 2)

    again = subprocess.run([*RL2, "resume", "group"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 2
    assert "all seeds of this group have ended" in again.stderr
