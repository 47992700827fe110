"""The reader of run folders: what is there, what is missing, what is wrong."""

from __future__ import annotations

import math
import os
import sys
import threading
from pathlib import Path

import pytest
from made_run import make_run, write_rows

from rl2cli.errors import UsageError
from rl2cli.results.run_record import Best, RunRecord
from rl2cli.training.run_folder import HOLDER_FILE, RunFolder


def test_facts_of_a_run(tmp_path: Path) -> None:
    run = RunRecord(make_run(tmp_path / "run", seed=7))
    assert (run.name, run.environment, run.algorithm, run.network, run.seed) == (
        "small",
        "CartPole-v1",
        "ppo",
        "mlp",
        7,
    )
    assert (run.state, run.frames, run.total_frames, run.best) == ("finished", 3000, 3000, Best(3000, 30.0))
    assert (run.seconds, run.frames_per_second) == (30.0, 100.0)
    assert run.curve("evaluation/mean_return").y == (10.0, 20.0, 30.0)
    assert run.metric_names()[:2] == ["rollout/return_mean", "loss/policy"]


def test_a_run_that_was_killed_counts_by_its_record(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", returns=[10.0, 50.0, "nan"], status="stopped")
    (path / HOLDER_FILE).write_text('{"pid": 1}')
    (path / ".lock").touch()
    write_rows(
        path / "summary.json", [{"status": "stopped", "frames": 1000, "best": {"frames": 1, "mean_return": 1.0}}]
    )
    run = RunRecord(path)
    assert (run.state, run.frames, run.best) == ("killed", 3000, Best(2000, 50.0))


def test_a_run_that_is_running(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", status=None)
    folder = RunFolder(path)
    folder.lock()
    try:
        assert RunRecord(path).state == "running"
        with pytest.raises(UsageError):  # asking did not take the lock away
            RunFolder(path).lock()
    finally:
        folder.close()
    assert RunRecord(path).state == "unknown"


@pytest.mark.parametrize(
    ("pid", "state"), [(os.getpid(), "running"), (2**31 - 2, "killed"), ("x", "killed")], ids=["own", "gone", "none"]
)
def test_state_where_the_lock_cannot_be_asked(tmp_path: Path, pid: object, state: str) -> None:
    path = make_run(tmp_path / "run")
    write_rows(path / HOLDER_FILE, [{"pid": pid}])  # and there is no file for a lock
    assert RunRecord(path).state == state


@pytest.mark.skipif(sys.platform == "win32", reason="the lock cannot be asked there")
def test_number_of_a_process_that_is_younger_than_the_run(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    write_rows(path / HOLDER_FILE, [{"pid": os.getpid()}])
    os.utime(path / HOLDER_FILE, (1000.0, 1000.0))
    assert RunRecord(path).state == "killed"


def test_an_empty_run(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    run = RunRecord(tmp_path)
    assert (run.name, run.environment, run.algorithm, run.seed) == (tmp_path.name, "?", "?", None)
    assert (run.state, run.frames, run.best, run.seconds, run.started) == ("unknown", None, None, None, None)
    assert (run.evaluations, run.metric_names(), run.checkpoints(), run.text_of("spec.toml")) == ([], [], [], "")


def test_damaged_and_hostile_files(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    (path / "resolved.toml").write_text("name = [" + "[" * 10_000, encoding="utf-8")
    (path / "run.json").write_text('{"name": "\\u001b[31m\\u202ered", "seed": true, "started": 5}', encoding="utf-8")
    (path / "summary.json").write_text('{"status": "rm -rf", "frames": -3, "best": 4}', encoding="utf-8")
    (path / "metrics.jsonl").write_bytes(
        b'\xff\n[1]\n{"frames": "x"}\n{"frames": 1e3}\n' + b"[" * 100_000 + b"\n"
        b'{"frames": 5, "a": NaN, "b": 1'
        + b"0" * 400
        + b', "evaluation/mean_return": "inf"}\n{"frames": 9, "a": 2, "b": "x"'
    )
    run = RunRecord(path)
    assert run.settings == {}
    assert run.name == "\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}red"
    assert (run.seed, run.started, run.state, run.frames, run.best) == (None, None, "unknown", 5, None)
    assert math.isnan(run.curve("a").y[0])
    assert len(run.curve("b")) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("name = 'secret'", encoding="utf-8")
    path = make_run(tmp_path / "run")
    (path / "resolved.toml").unlink()
    (path / "resolved.toml").symlink_to(secret)
    assert RunRecord(path).settings == {}
    assert RunRecord(path).text_of("resolved.toml") == ""


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not hold a run"):
        RunRecord(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="the lock cannot be asked there")
def test_who_asks_does_not_get_in_the_way_of_a_writer(tmp_path: Path) -> None:
    import fcntl

    path = make_run(tmp_path / "run")
    with (path / ".lock").open("wb") as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)
        threading.Timer(0.02, fcntl.flock, (asked.fileno(), fcntl.LOCK_UN)).start()
        with RunFolder(path) as folder:
            folder.lock()
            assert folder.state() == "running"
