"""Whole runs of an algorithm that keeps the past: records, checkpoints, resuming; each frame is an iteration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import made_up_parts
import pytest
import remembering
import small_runs
from remembering import PIECE
from small_runs import checkpoints, differences, newest, rows

import rl2cli
from rl2cli.errors import NonFiniteError
from rl2cli.reporting.view import make_view
from rl2cli.spec import load_spec_dict
from rl2cli.training.checkpoint import CheckpointStore
from rl2cli.training.session import resume

assert made_up_parts  # registers its environments


@pytest.fixture(autouse=True)
def _named() -> Iterator[None]:
    with remembering.registered():
        yield


def _spec(total_frames: int = 400, num_envs: int = 1, **tables: Any) -> dict[str, Any]:
    settings = small_runs.spec("MadeUpRewards-v0", total_frames, num_envs, **tables)
    return {**settings, "algorithm": {"name": "remembering", **tables.get("algorithm", {})}}


def _train(root: Path, name: str = "run", **settings: Any) -> Path:
    return small_runs.train(root, _spec(**settings), name)


def test_metrics_have_about_two_thousand_lines_however_many_iterations_there_are() -> None:
    assert [load_spec_dict(_spec(frames)).spec.logging.every for frames in (400, 1_000_000)] == [1, 500]


def test_a_record_has_all_episodes_and_the_latest_of_what_was_reported(tmp_path: Path) -> None:
    run = _train(tmp_path, logging={"every": 2})
    recorded = [row for row in rows(run / "metrics.jsonl") if "rollout/episodes" in row]
    assert [row["frames"] for row in recorded] == list(range(2, 401, 2))
    for row in recorded:
        frames = row["frames"]
        assert row["rollout/episodes"] == frames // 3  # every iteration counts, recorded or not
        # the last update was at a multiple of 8; the iterations after it reported nothing
        assert row.get("replay/size") == (frames // 8 * 8 or None)


def test_how_often_metrics_are_recorded_changes_nothing_else(tmp_path: Path) -> None:
    often, seldom = (_train(tmp_path, str(every), logging={"every": every}) for every in (1, 37))
    state, other = newest(often).state, newest(seldom).state
    assert list(differences(state, other)) == []
    lines = {row["frames"]: row for row in rows(often / "metrics.jsonl") if "rollout/episodes" in row}
    recorded = [row for row in rows(seldom / "metrics.jsonl") if "rollout/episodes" in row]
    assert [row["frames"] for row in recorded] == [*range(37, 400, 37), 400]
    assert all(row == lines[row["frames"]] for row in recorded)


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, num_envs: int, every: int) -> None:
    tables = {"checkpoint": {"every": 90, "keep": 20}, "evaluation": {"every": 70}, "logging": {"every": every}}
    run = _train(tmp_path, num_envs=num_envs, **tables)
    saved = checkpoints(run)
    copy = tmp_path / "killed"
    shutil.copytree(run, copy)
    for later in saved[len(saved) // 2 :]:
        shutil.rmtree(copy / "checkpoints" / f"{later:015}")
    resume(str(copy), view=make_view("quiet"))
    assert (copy / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
    assert list(differences(newest(run).state, newest(copy).state)) == []
    assert _segments(copy) == _segments(run)


def test_segments_are_written_once_and_collected(tmp_path: Path) -> None:
    run = _train(tmp_path, total_frames=320, checkpoint={"every": 32, "keep": 2})
    folder = run / "checkpoints" / "segments"
    # 20 whole pieces, and since the checkpoints end on a whole piece, one empty rest for all of them
    assert len(set(_segments(run))) == 320 // PIECE + 1
    assert {path.stem for path in folder.iterdir()} == set(_segments(run))


def _segments(run: Path) -> list[str]:
    store = CheckpointStore(run / "checkpoints", read_only=True)
    with closing(store):
        return [str(segment.sha256) for segment in store.newest().segments]


def test_a_policy_is_loaded_without_what_the_run_kept(tmp_path: Path) -> None:
    run = _train(tmp_path)
    shutil.rmtree(run / "checkpoints" / "segments")
    with closing(rl2cli.load_policy(run)) as policy:
        assert policy([0.0]) == 0  # how it acts, not how it behaved in training


def test_a_damaged_segment_is_found_and_the_checkpoint_before_it_used(tmp_path: Path) -> None:
    run = _train(tmp_path, checkpoint={"every": 100, "keep": 20})
    path = run / "checkpoints" / "segments" / f"{_segments(run)[-2]}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    resume(str(run), view=make_view("quiet"))
    assert newest(run).frames == 400
    assert "damaged" in (run / "log.txt").read_text()
    assert "000000000000400" in " ".join(path.name for path in (run / "checkpoints").iterdir())


@pytest.mark.parametrize("what", ["reward", "observation", "final observation"])
def test_a_number_that_is_not_finite_is_named_by_its_frame_and_never_kept(tmp_path: Path, what: str) -> None:
    settings = {**_spec(checkpoint={"every": 20}), "env": {"id": "MadeUpBreaks-v0", "num_envs": 1, "workers": 0}}
    settings["env"]["kwargs"] = {"what": what}
    with pytest.raises(NonFiniteError, match=rf"environment 0 .*{what.split()[-1]}.* after 49 frames of the run"):
        small_runs.train(tmp_path, settings)
    assert newest(tmp_path / "run").frames == 40
