"""Checking a run: what is found good, and how each kind of damage is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import checkpoints, spec, train

from rl2cli.reporting.view import make_view
from rl2cli.training.checkpoint import CheckpointStore
from rl2cli.training.run_check import RunCheck, check_run
from rl2cli.training.run_folder import RunFolder
from rl2cli.training.session import resume

DQN = {"name": "dqn", "buffer_size": 100, "learning_starts": 20, "batch_size": 8}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with three checkpoints; nothing may change it."""
    settings = spec(total_frames=256, num_envs=4, checkpoint={"every": 90, "keep": 10})
    return train(tmp_path_factory.mktemp("check"), {**settings, "algorithm": DQN})


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


def _check(run: Path) -> RunCheck:
    return check_run(RunFolder.open(run))


def _last(run: Path) -> Path:
    return run / "checkpoints" / f"{checkpoints(run)[-1]:015}"


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_whole_run(run: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))
    check = _check(run)
    assert check.is_good
    assert [each.frames for each in check.checkpoints] == checkpoints(run)
    assert all(each.is_good and each.is_exact and each.num_bytes > 0 for each in check.checkpoints)
    assert check.resumes_from is check.checkpoints[-1]
    assert check.best is not None
    assert sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*")) == before


DAMAGE: dict[str, Callable[[Path], None]] = {
    "state.safetensors": lambda last: _flip(last / "state.safetensors"),
    "state.json": lambda last: _flip(last / "state.json"),
    "manifest.json": lambda last: (last / "manifest.json").unlink(),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_named(run: Path, name: str) -> None:
    DAMAGE[name](_last(run))
    check = _check(run)
    assert not check.is_good
    damage = check.checkpoints[-1].damage
    assert damage is not None
    assert name in damage
    assert check.resumes_from is check.checkpoints[-2]
    assert all(each.is_good for each in check.checkpoints[:-1])


def test_a_missing_segment_is_named(run: Path) -> None:
    segments = sorted((run / "checkpoints" / "segments").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    segments[-1].unlink()
    damages = [each.damage for each in _check(run).checkpoints]
    assert damages[0] is None
    assert damages[-1] is not None
    assert segments[-1].name in damages[-1]


def test_a_record_that_is_too_short_or_changed_is_named(run: Path) -> None:
    metrics = run / "metrics.jsonl"
    content = metrics.read_bytes()
    metrics.write_bytes(content[:-1] + b" ")
    (problem,) = _check(run).checkpoints[-1].problems
    assert "metrics.jsonl was changed" in problem
    metrics.write_bytes(content[: len(content) // 2])
    assert ["metrics.jsonl has" in problem for problem in _check(run).checkpoints[-1].problems] == [True]
    metrics.unlink()
    check = _check(run)
    assert not check.is_good
    assert check.resumes_from is check.checkpoints[-1]  # it can still be gone on with


def test_what_was_moved_aside_is_named(run: Path) -> None:
    _last(run).rename(run / "checkpoints" / "damaged-000000000000007-1")
    check = _check(run)
    assert check.aside == ["damaged-000000000000007-1"]
    assert check.is_good


def test_a_run_without_checkpoints_is_not_good(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    check = _check(run)
    assert (check.checkpoints, check.is_good, check.resumes_from) == ([], False, None)


def test_a_changed_byte_of_the_record_is_found_by_every_checkpoint_behind_it(run: Path) -> None:
    metrics = run / "metrics.jsonl"
    content = metrics.read_bytes()
    place = content.index(b"rollout/episodes")  # of the first row, so all of its lines still have their form
    metrics.write_bytes(content[:place] + b"R" + content[place + 1 :])
    problems = [each.problems for each in _check(run).checkpoints]
    assert all("metrics.jsonl was changed" in problem for (problem,) in problems)
    last_line = content.rindex(b"\n", 0, -1) + 1
    metrics.write_bytes(content[:last_line] + content[last_line:].replace(b"0", b"1", 1))
    problems = [each.problems for each in _check(run).checkpoints]
    assert problems[0] == []
    assert "metrics.jsonl was changed" in problems[-1][0]


def test_a_row_behind_the_end_of_a_finished_run_is_found(run: Path) -> None:
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(b'{"frames": 256, "evaluation/mean_return": 1000.0}\n')
    assert "something was added" in _check(run).checkpoints[-1].problems[0]


def test_a_checkpoint_from_before_the_hash_is_good(run: Path) -> None:
    store = CheckpointStore(run / "checkpoints")
    checkpoint = store.newest()
    metadata = {name: value for name, value in checkpoint.metadata.items() if name != "metrics_sha256"}
    store.save(checkpoint.frames, checkpoint.state, metadata, segments=checkpoint.segments, supersede=True)
    store.close()
    assert _check(run).is_good


def test_resume_says_that_the_record_was_changed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = run / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes().replace(b"rollout", b"Rollout", 1))
    resume(str(run), view=make_view("quiet"), total_frames=300)
    assert "metrics.jsonl was changed" in capsys.readouterr().err
