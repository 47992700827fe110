"""The rigs at a hundredth of their counts; rl2cli/README.md has the commands for all of it, and what came of them."""

from __future__ import annotations

import contextlib
import pickle
import sys
from pathlib import Path

import failing_calls
import full_disk
import hostile_names
import hostile_run_folder
import mutate_checkpoints
import mutate_records
import power_loss
import pytest
import rig_runs


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> list[mutate_checkpoints.Subject]:
    return mutate_checkpoints.make_subjects(tmp_path_factory.mktemp("subjects"), ("ppo", "dqn"))


def test_no_damage_of_a_checkpoint_is_silent(subjects: list[mutate_checkpoints.Subject]) -> None:
    seen, failures = mutate_checkpoints.run(100, 2, subjects)
    assert failures == []
    assert sum(seen.values()) == 100


def test_the_rig_sees_a_damage_that_is_silent(
    subjects: list[mutate_checkpoints.Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rl2cli.training.checkpoint_format.Stamp._compare", lambda *_: None)
    _, failures = mutate_checkpoints.run(40, 2, subjects)
    assert failures


def test_damaged_records_end_with_words(tmp_path: Path) -> None:
    folder = rig_runs.train("ppo", tmp_path / "runs" / "ppo")
    _, failures = mutate_records.run(8, 3, folder)
    assert failures == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_every_state_that_a_power_cut_leaves_has_what_was_saved(tmp_path: Path) -> None:
    recorder = power_loss.record("ppo", tmp_path)
    seen, failures = power_loss.run(recorder, tmp_path, most=4, seed=1, every=4)
    assert failures == []
    assert seen["the promised one"] > 5


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_rig_sees_a_writer_that_does_not_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("checkpoint_writer", "checkpoint_format"):
        monkeypatch.setattr(f"rl2cli.training.{module}.fsync_folder", lambda folder: None)
    recorder = power_loss.record("ppo", tmp_path)
    _, failures = power_loss.run(recorder, tmp_path, most=4, seed=1, every=8)
    assert failures


@pytest.mark.slow
@pytest.mark.skipif(not failing_calls.can_trace(), reason="needs strace, and leave to trace")
def test_every_call_of_a_save_may_fail(tmp_path: Path) -> None:
    seen, failures = failing_calls.run(10, 1, tmp_path, ("ppo",))
    assert failures == []
    assert sum(seen.values()) == 10


@pytest.mark.slow
@pytest.mark.skipif(not full_disk.can_mount(), reason="mounts disks, which takes root")
def test_a_full_disk_ends_no_run_with_a_traceback(tmp_path: Path) -> None:
    _, failures = full_disk.run(2, 1, tmp_path, ("ppo",))
    assert failures == []


@pytest.mark.slow
def test_a_hostile_run_folder_runs_nothing() -> None:
    loads, failures = hostile_run_folder.run(3)
    assert loads >= 18
    assert failures == []


@pytest.mark.slow
def test_the_rig_sees_what_unpickles(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpickled(path: Path, max_bytes: int) -> bytes:
        content = path.read_bytes()
        with contextlib.suppress(Exception):
            pickle.loads(content)
        return content

    monkeypatch.setattr("rl2cli.training.run_folder.read_regular", unpickled)
    _, failures = hostile_run_folder.run(1, "run.json")
    assert failures


@pytest.mark.slow
def test_no_name_controls_the_screen_or_leaves_its_folder() -> None:
    fed, failures = hostile_names.run(100, 1)
    assert failures == []
    assert fed.total() == 100


def test_names_in_the_quick_places() -> None:
    fed, failures = hostile_names.run(60, 2, ("errors", "views", "names of runs", "registered names"))
    assert failures == []
    assert fed.total() == 60


@pytest.mark.slow
def test_the_rig_of_names_finds_planted_bugs() -> None:
    found = hostile_names.find_planted(200, 1)
    assert None not in found.values()
