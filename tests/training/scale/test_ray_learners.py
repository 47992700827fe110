"""Workers of Ray collect, and several learners learn from it: the same bits, and nothing left of what is killed."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import sharded_runs
from learner_processes import environment, run, torchrun, write_spec
from sharded_runs import different
from small_runs import checkpoints, rows

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

WORKER = "ray::RayWorker"
ON_RAY = ("--set", 'scale.engine="ray"')


def _spec(total_frames: int, **scale: Any) -> dict[str, Any]:
    settings = sharded_runs.spec(
        total_frames=total_frames,
        scale={"gradient_shards": 4, **scale},
        checkpoint={"every": 512},
        evaluation={"every": total_frames},
    )
    return {**settings, "name": "both"}


@pytest.mark.parametrize("lag", [0, 1])
def test_a_run_depends_neither_on_its_workers_nor_on_its_learners(tmp_path: Path, lag: int) -> None:
    file = write_spec(tmp_path, _spec(1024, lag=lag))
    assert run(0, tmp_path, "train", file, "--run-dir", "local", "-q").returncode == 0
    for learners, workers in ((0, 2), (2, 2), (2, 4)):
        name = f"{learners}-{workers}"
        more = (*ON_RAY, "--set", f"scale.workers={workers}")
        ended = run(learners, tmp_path, "train", file, "--run-dir", name, "-q", *more)
        assert ended.returncode == 0, ended.stderr
        assert different(tmp_path / "local", tmp_path / name) == [], name


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long run of one process that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    ended = run(0, folder, "train", write_spec(folder, _spec(LONG)), "--run-dir", "run", "-q")
    assert ended.returncode == 0, ended.stderr
    return folder / "run"


LONG = 16_000


@contextmanager
def _two_learners(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Start a long run of two learners on two workers; for the block: torchrun, and all processes below it.

    It begins with the second checkpoint, and when it ends none of the processes may be left.
    """
    command = torchrun(2, "-m", "rl2cli", "train", write_spec(folder, _spec(LONG)), "--run-dir", "run", "-q", *ON_RAY)
    process = subprocess.Popen(
        command, env=environment(), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    saved, until, found = folder / "run" / "checkpoints", time.monotonic() + 300.0, []
    try:
        while not (saved.is_dir() and len(checkpoints(folder / "run")) >= 2):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        found = psutil.Process(process.pid).children(recursive=True)
        yield process, found
        _, left = psutil.wait_procs(found, timeout=45.0)
        assert [each.cmdline() for each in left] == []
    finally:
        for each in [*found, psutil.Process()] if process.poll() is None else found:
            if each.pid != psutil.Process().pid and each.is_running():
                each.kill()
        process.kill()
        process.communicate()


def _learner(found: list[psutil.Process], rank: int) -> psutil.Process:
    parents = {each.pid for each in found}
    (learner,) = [each for each in found if each.ppid() not in parents and each.environ().get("RANK") == str(rank)]
    return learner


def _workers(found: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in found if each.cmdline() and each.cmdline()[0].startswith(WORKER)]


def test_a_killed_worker_costs_nothing_and_a_signal_saves(tmp_path: Path, whole: Path) -> None:
    with _two_learners(tmp_path) as (process, found):
        assert len(_workers(found)) == 2
        assert [each.environ().get("RANK") for each in _workers(found)] == [None, None]
        _workers(found)[0].kill()
        before = len(rows(tmp_path / "run" / "metrics.jsonl"))
        while not any(row["event"] == "worker lost" for row in rows(tmp_path / "run" / "timings.jsonl")):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
        assert "stopped by SIGTERM and saved after" in said
    assert len(rows(tmp_path / "run" / "metrics.jsonl")) >= before
    ended = run(0, tmp_path, "resume", "run", "--set", "scale.workers=1", "-q")
    assert ended.returncode == 0, ended.stderr
    assert different(whole, tmp_path / "run") == []


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_learner_leaves_nothing_of_ray(tmp_path: Path, whole: Path, rank: int) -> None:
    with _two_learners(tmp_path) as (process, found):
        _learner(found, rank).kill()
        _, said = process.communicate(timeout=120)
        assert process.returncode == 1
        assert f"error: learner {rank} (process " in said or "stopped by SIGTERM and saved" in said
        assert "Traceback" not in said.partition("failed (exitcode")[0]  # torchrun's own report comes behind
    ended = run(4 if rank else 0, tmp_path, "resume", "run", "--set", "scale.workers=3", "-q")
    assert ended.returncode == 0, ended.stderr
    assert different(whole, tmp_path / "run") == []
    assert list(Path(tempfile.gettempdir()).glob("rl2-ray-*")) == []


def test_all_learners_end_where_ray_cannot_be_had(tmp_path: Path) -> None:
    file = write_spec(tmp_path, _spec(1024, address="127.0.0.1:1", engine="ray"))
    ended = run(2, tmp_path, "train", file, "--run-dir", "run")
    assert ended.returncode == 1
    assert ended.stderr.count("error: nothing answers") == 1
    assert not (tmp_path / "run").exists()
