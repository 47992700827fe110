"""The Slurm scripts under a Slurm that is made up: preempted, out of time, cancelled, on a node that fails."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster_runs import LEARNERS, RECIPES, SHARDS, checkpoints, write_spec
from fake_slurm import FakeSlurm
from long_run import digest

if TYPE_CHECKING:
    from rl2cli.training.digest import Digest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="batch scripts are run by bash")
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


STAND_IN = """\
echo "learner $*" >> learner.out
trap 'echo told >> learner.out; sleep 0.3; echo saved >> learner.out; exit 143' TERM
while [ ! -e finish ]; do sleep 0.05; done
"""
"""Of the learner, for the scripts alone: it saves when it is told to, and ends when `finish` is there."""


@pytest.fixture
def stand_in(slurm: FakeSlurm) -> FakeSlurm:
    slurm.install("rl2", STAND_IN)
    slurm.sbatch(RECIPES / "slurm.sh", "my.toml", "run", "--seed", "2")
    slurm.wait_until(lambda: "learner" in said(slurm))
    return slurm


def said(slurm: FakeSlurm) -> str:
    path = slurm.folder / "learner.out"
    return path.read_text() if path.exists() else ""


COMMAND = "learner train my.toml --run-dir run --resume --seed 2\n"
SAVED = f"{COMMAND}told\nsaved\n"


def test_the_shell_hands_a_warning_on_once_and_queues_the_job_again(stand_in: FakeSlurm) -> None:
    stand_in.warn()
    stand_in.wait_until(lambda: "told" in said(stand_in))
    stand_in.warn()
    assert (stand_in.wait(), said(stand_in)[: len(SAVED)]) == (143, SAVED)
    assert stand_in.said == f"scontrol requeue incomplete {stand_in.job}\n"
    stand_in.wait_until(lambda: said(stand_in) == SAVED + COMMAND)
    (stand_in.folder / "finish").touch()
    assert (stand_in.wait(), stand_in.state, stand_in.starts) == (0, "COMPLETED", 2)
    assert said(stand_in) == SAVED + COMMAND


@pytest.mark.parametrize("state", ["CANCELLED", "COMPLETING"])
def test_the_shell_leaves_alone_what_slurm_has_decided(stand_in: FakeSlurm, state: str) -> None:
    stand_in.state = state
    stand_in.warn()
    assert (stand_in.wait(), stand_in.state, said(stand_in)) == (143, state, SAVED)


def test_what_fails_by_itself_is_not_queued_again(slurm: FakeSlurm) -> None:
    slurm.install("rl2", "exit 4\n")
    slurm.sbatch(RECIPES / "slurm.sh", "my.toml", "run")
    assert (slurm.wait(), slurm.state, slurm.said) == (4, "FAILED", "")


def test_a_run_that_ends_as_it_is_told_to_stop_has_ended(slurm: FakeSlurm) -> None:
    slurm.install("rl2", "echo learner >> learner.out\ntrap 'exit 0' TERM\nwhile :; do sleep 0.05; done\n")
    slurm.sbatch(RECIPES / "slurm.sh", "my.toml", "run")
    slurm.wait_until(lambda: "learner" in said(slurm))
    slurm.warn()
    assert (slurm.wait(), slurm.state, slurm.said) == (0, "COMPLETED", "")


def test_several_learners_are_started_by_torchrun(slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNERS", "3")
    slurm.install("torchrun", 'echo "$*" > learner.out\n')
    slurm.sbatch(RECIPES / "slurm.sh", "my.toml", "run")
    assert slurm.wait() == 0
    port = 20000 + slurm.job % 10000
    expected = f"--nproc-per-node 3 --master-port {port} -m rl2cli train my.toml --run-dir run --resume\n"
    assert said(slurm) == expected


def test_ray_is_started_on_every_node_with_a_token(tmp_path: Path) -> None:
    slurm = FakeSlurm(tmp_path, nodes=3, cpus=4)
    slurm.install("python", 'case "$*" in *secrets*) echo secret ;; *ray.util*) echo 10.0.0.1 ;; esac\n')
    node = 'echo "ray $* $RAY_AUTH_MODE $RAY_AUTH_TOKEN" >> learner.out\ntrap "exit 0" TERM\nsleep 600\n'
    slurm.install("ray", node)
    slurm.install("rl2", STAND_IN)
    try:
        slurm.sbatch(RECIPES / "slurm-ray.sh", "my.toml", "run", "--seed", "2")
        slurm.wait_until(lambda: said(slurm).count("\n") == 4)
        slurm.state = "COMPLETING"  # so that it is not started again
        slurm.warn()
        assert slurm.wait() == 143
        address = f"10.0.0.1:{20000 + slurm.job % 10000}"
        nodes = [line for line in said(slurm).splitlines() if line.startswith("ray")]
        head, *others = sorted(nodes, key=lambda line: "--head" not in line)  # they start side by side
        assert head.startswith(f"ray start --head --node-ip-address=10.0.0.1 --port={address[9:]} --num-cpus=3 ")
        assert others == [f"ray start --address={address} --num-cpus=4 --block token secret"] * 2
        assert head.endswith(" token secret")
        (learner,) = [line for line in said(slurm).splitlines() if line.startswith("learner")]
        assert "train my.toml --run-dir run --resume --set scale.engine=" in learner
        assert learner.endswith(f'scale.address="{address}" --set scale.workers=11 --seed 2')
        assert "saved" in said(slurm)
        assert "secret" not in slurm.said  # no command line has it, which others can see
        assert f"scontrol requeue incomplete {slurm.job}" in slurm.said
    finally:
        slurm.kill()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_time_is_over_and_the_job_is_queued_again(slurm: FakeSlurm, whole: Digest) -> None:
    run = begin(slurm, "slurm.sh")
    slurm.warn()
    assert slurm.wait() == 143
    assert digest(run).frames < whole.frames
    assert slurm.said == f"scontrol requeue incomplete {slurm.job}\n"
    assert (slurm.wait(), slurm.state, slurm.starts) == (0, "COMPLETED", 2)
    assert digest(run) == whole
    assert slurm.log.count("stopped by SIGTERM and saved after") == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
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


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_cancelled_is_not_queued_again(slurm: FakeSlurm) -> None:
    run = begin(slurm, "slurm.sh")
    slurm.end("CANCELLED")
    assert (slurm.wait(), slurm.state, slurm.starts) == (143, "CANCELLED", 1)
    assert digest(run).frames > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_mistake_is_not_queued_again(slurm: FakeSlurm) -> None:
    slurm.sbatch(RECIPES / "slurm.sh", write_spec(slurm.folder), "run", "--set", "algorithm.gama=1")
    assert (slurm.wait(), slurm.state, slurm.said) == (2, "FAILED", "")
    assert "unknown key 'gama'" in slurm.log


@pytest.mark.slow
@pytest.mark.timeout(1800)
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
@pytest.mark.slow
@pytest.mark.timeout(1800)
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
