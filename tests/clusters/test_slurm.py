"""The Slurm scripts under a Slurm that is made up: preempted, out of time, cancelled, on a node that fails."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_runs import LEARNERS, RECIPES, SHARDS, checkpoints, digest, write_spec
from fake_slurm import FakeSlurm

from rl2cli.training.digest import Digest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform == "win32", reason="batch scripts are run by bash"),
]
has_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason='needs pip install "rl2cli[ray]"')


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[FakeSlurm]:
    made = FakeSlurm(tmp_path)
    yield made
    made.kill()


def trained(folder: Path, more: str = "") -> Digest:
    """Return the digest of a run that nothing stopped."""
    command = [sys.executable, "-m", "rl2cli", "train", write_spec(folder, more), "--run-dir", "run", "-q"]
    subprocess.run(command, cwd=folder, check=True)
    return digest(folder / "run")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Digest:
    return trained(tmp_path_factory.mktemp("whole"))


def begin(slurm: FakeSlurm, script: str, *words: str, more: str = "") -> Path:
    """Submit a script, and return the run's folder once there are checkpoints in it."""
    slurm.sbatch(RECIPES / script, write_spec(slurm.folder, more), "run", *words)
    run = slurm.folder / "run"
    slurm.wait_until(lambda: checkpoints(run) > 1)
    return run


def test_time_is_over_and_the_job_is_queued_again(slurm: FakeSlurm, whole: Digest) -> None:
    run = begin(slurm, "slurm.sh")
    slurm.warn()
    assert slurm.wait() == 143
    assert digest(run).frames < whole.frames
    assert slurm.said == f"scontrol requeue incomplete {slurm.job}\n"
    assert (slurm.wait(), slurm.state, slurm.starts) == (0, "COMPLETED", 2)
    assert digest(run) == whole
    assert slurm.log.count("stopped by SIGTERM and saved after") == 1


def test_preempted_by_a_signal_to_every_process(slurm: FakeSlurm, whole: Digest) -> None:
    run = begin(slurm, "slurm.sh")
    slurm.end("PENDING")
    assert slurm.wait() == 143
    assert "stopped by SIGTERM and saved after" in slurm.log
    slurm.wait_until(lambda: "resumed" in slurm.log or checkpoints(run) > 2)
    slurm.end("PENDING", signal.SIGKILL)  # and then its node fails
    assert slurm.wait() == -9
    assert (slurm.wait(), slurm.starts) == (0, 3)
    assert digest(run) == whole


def test_cancelled_is_not_queued_again(slurm: FakeSlurm) -> None:
    run = begin(slurm, "slurm.sh")
    slurm.end("CANCELLED")
    assert (slurm.wait(), slurm.state, slurm.starts) == (143, "CANCELLED", 1)
    assert digest(run).frames > 0


def test_a_mistake_is_not_queued_again(slurm: FakeSlurm) -> None:
    slurm.sbatch(RECIPES / "slurm.sh", write_spec(slurm.folder), "run", "--set", "algorithm.gama=1")
    assert (slurm.wait(), slurm.state, slurm.said) == (2, "FAILED", "")
    assert "unknown key 'gama'" in slurm.log


def test_learners_of_torchrun_and_then_one(slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = trained(tmp_path / "whole", LEARNERS)
    monkeypatch.setenv("LEARNERS", "2")
    run = begin(slurm, "slurm.sh", more=LEARNERS)
    slurm.warn()
    monkeypatch.setenv("LEARNERS", "1")
    assert slurm.wait() == 1  # torchrun's own
    assert "stopped by SIGTERM and saved after" in slurm.log
    assert (slurm.wait(), slurm.state, slurm.starts) == (0, "COMPLETED", 2)
    assert digest(run) == whole


@has_ray
def test_ray_on_two_nodes(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = trained(tmp_path / "whole", SHARDS)
    slurm = FakeSlurm(tmp_path, nodes=2)
    try:
        run = begin(slurm, "slurm-ray.sh", more=SHARDS)
        slurm.warn()
        assert slurm.wait() == 143, slurm.log
        assert digest(run).frames < whole.frames
        assert (slurm.wait(), slurm.state, slurm.starts) == (0, "COMPLETED", 2), slurm.log
    finally:
        slurm.kill()
    assert digest(run) == whole
    assert slurm.said.count("ray start --head") == slurm.said.count("ray start --address") == 2
