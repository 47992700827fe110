"""Runs of many frames, with many checkpoints, and with a clock that jumps."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from small_runs import newest, rows, spec, train

from rl2cli.reporting.view import make_view
from rl2cli.segment import Segment
from rl2cli.training import resume_notice
from rl2cli.training.checkpoint import BestRecord, CheckpointStore
from rl2cli.training.checkpoint_folder import CheckpointFolder
from rl2cli.training.checkpoint_format import Manifest, Stamp, folder_name
from rl2cli.training.session import resume

MANY = 10_000
MOST_SECONDS = 1.0


@pytest.mark.parametrize("limit", [2**24, 2**31, 2**53 - 2**10])
def test_frames_are_counted_beyond_the_limits_of_other_numbers(limit: int, tmp_path: Path) -> None:
    run = train(tmp_path, spec(total_frames=256, logging={"every": 1}))
    before = newest(run)
    state = {**before.state, "frames": limit - 100}
    store = CheckpointStore(run / "checkpoints")
    store.save(limit - 100, state, before.metadata)
    store.close()
    summary = resume(str(run), view=make_view("quiet"), total_frames=limit + 200)
    assert limit + 200 <= summary.frames < limit + 400
    after = newest(run)
    assert after.path.name == folder_name(summary.frames)
    assert after.state["frames"] == summary.frames
    frames = [row["frames"] for row in rows(run / "metrics.jsonl") if row["frames"] > limit - 100]
    assert all(0 < later - earlier <= 128 for earlier, later in itertools.pairwise(frames) if later != earlier)
    assert frames[-1] == summary.frames


def fill(folder: Path) -> CheckpointFolder:
    """Make very many checkpoints, of which only the manifests are there, and a segment each."""
    checkpoints = CheckpointFolder(folder)
    files = {name: Stamp(1, "0" * 64) for name in ("state.safetensors", "state.json")}
    (folder / "segments").mkdir(parents=True)
    for number in range(1, MANY + 1):
        path = checkpoints.checkpoint(number)
        path.mkdir()
        stamp = Stamp(1, f"{number % 50:064x}")
        manifest = Manifest(number, files, [stamp], BestRecord(number // 2 + 1, 1.0))
        (path / "manifest.json").write_bytes(manifest.to_bytes())
    return checkpoints


@pytest.mark.slow  # it makes ten thousand folders
def test_many_checkpoints_take_no_time(tmp_path: Path) -> None:
    folder = fill(tmp_path / "checkpoints")
    before = time.process_time()
    assert len(folder.list_frames()) == MANY
    assert folder.recorded_best() == BestRecord(MANY // 2 + 1, 1.0)
    store = CheckpointStore(folder.path, keep=MANY)
    assert time.process_time() - before < MOST_SECONDS
    store.save(MANY + 1, {"one": 1}, {}, segments=[Segment(_tensors())])  # reads every manifest, once
    store.wait()
    before = time.process_time()
    store.save(MANY + 2, {"one": 1}, {}, segments=[Segment(_tensors())])
    assert store.newest().frames == MANY + 2
    store.close()
    assert time.process_time() - before < MOST_SECONDS
    assert len(folder.list_frames()) == MANY


def _tensors() -> dict[str, Any]:
    import torch

    return {"x": torch.zeros(3)}


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumps_changes_no_duration_and_no_bit(
    jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(tmp_path, spec(total_frames=512, checkpoint={"every": 128}), "plain")
    real, calls = time.time, iter(range(10**9))
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + jump * (next(calls) % 2))
        run = train(tmp_path, spec(total_frames=512, checkpoint={"every": 128}), "jumping")
        summary = resume(str(run), view=make_view("quiet"), total_frames=1024)
    assert (plain / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()[: _size(plain)]
    assert 0 < summary.wall_seconds < 1000
    assert summary.frames_per_second > 0
    assert newest(run).frames == summary.frames


def _size(run: Path) -> int:
    return (run / "metrics.jsonl").stat().st_size


def test_going_on_takes_less_than_a_second(tmp_path: Path) -> None:
    run = train(tmp_path, spec(total_frames=256, checkpoint={"every": 128}))
    before = time.process_time()
    summary = resume(str(run), view=make_view("quiet"), total_frames=384)
    assert time.process_time() - before < MOST_SECONDS  # one iteration is in it
    assert summary.frames >= 384


def test_what_takes_long_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = spec("Pendulum-v1", total_frames=150, num_envs=2, env={"vectorization": "single"})
    settings["algorithm"] = {"name": "sac", "buffer_size": 100, "learning_starts": 20, "batch_size": 8}
    run = train(tmp_path, settings)
    checkpoint = newest(run)
    assert resume_notice.of_segments(run / "checkpoints") is None
    assert resume_notice.of_episodes(checkpoint) is None
    assert 0 < checkpoint.metadata["step_seconds"] < 1
    monkeypatch.setattr(resume_notice, "_seconds_per_byte", lambda: 1.0)
    said = resume_notice.of_segments(run / "checkpoints")
    assert said is not None
    assert said.startswith("verifying and reading ")
    checkpoint.metadata["step_seconds"] = 0.5
    assert resume_notice.of_episodes(checkpoint) == ("replaying 150 steps of the running episodes, about 1 min 15 s")
