"""Videos while training: at the right frames, without an effect on the run, whatever goes wrong."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import spec, train

from rl2cli.api import train as train_shown
from rl2cli.errors import StorageError
from rl2cli.reporting.video import VideoWriter, count_pictures
from rl2cli.training import filming

SHORT = {"max_episode_steps": 6, "vectorization": "single"}


def events(run: Path, name: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "timings.jsonl").read_text().splitlines()]
    return [row for row in rows if row["event"] == name]


def filmed(run: Path) -> list[int]:
    return [row["frames"] for row in events(run, "video")]


def weights(run: Path) -> bytes:
    newest = max(path for path in (run / "checkpoints").iterdir() if path.name.isdigit())
    return (newest / "state.safetensors").read_bytes()


def test_it_changes_no_weight_and_is_in_the_records(tmp_path: Path) -> None:
    small = spec(total_frames=512, env=SHORT)
    plain = train(tmp_path, small, "plain")
    run = train(tmp_path, {**small, "video": {"max_steps": 4}}, "filmed")
    assert weights(run) == weights(plain)
    assert (run / "metrics.jsonl").read_bytes() == (plain / "metrics.jsonl").read_bytes()
    assert not (plain / "videos").exists()
    assert filmed(run) == [0, 256, 512]
    for row in events(run, "video"):
        assert row["file"] == f"videos/training-{row['frames']:012}.mp4"
        assert (row["steps"], row["ended"], row["return"]) == (4, False, 4.0)
        assert count_pictures(run / row["file"])[0] == 5
    loader: Any = importlib.import_module("tensorboard.backend.event_processing.plugin_event_accumulator")
    accumulator = loader.EventAccumulator(str(run / "tensorboard"))
    accumulator.Reload()
    shown = accumulator.Tensors("video/policy")
    assert [event.step for event in shown] == [0, 256, 512]
    assert shown[0].tensor_proto.string_val[2][:6] == b"GIF89a"


@pytest.mark.parametrize(
    ("video", "frames"),
    [
        ({"at": [1.0]}, [512]),
        ({"at": [0.3, 0.31]}, [256]),  # both fall into one iteration
        ({"every": 200}, [256, 512]),
        ({"every": 300, "at": [0.0]}, [0, 384, 512]),
    ],
)
def test_when(tmp_path: Path, video: dict[str, Any], frames: list[int]) -> None:
    run = train(
        tmp_path, spec(total_frames=512, env=SHORT, video={**video, "max_steps": 1}, logging={"tensorboard": False})
    )
    assert filmed(run) == frames


def test_the_end_is_filmed_where_the_target_ends_the_run(tmp_path: Path) -> None:
    small = spec(total_frames=2048, env=SHORT, evaluation={"every": 256, "target_return": 1.0})
    run = train(tmp_path, {**small, "video": {"at": [1.0], "max_steps": 1}})
    assert filmed(run) == [256]


@pytest.mark.slow
def test_resume_films_nothing_twice(tmp_path: Path) -> None:
    from rl2cli.reporting.view import make_view
    from rl2cli.training.session import resume

    small = spec(total_frames=512, env=SHORT, video={"at": [0.0, 0.5, 1.0], "max_steps": 1})
    run = train(tmp_path, small)
    resume(str(run), view=make_view("quiet"), total_frames=1024)
    assert filmed(run) == [0, 256, 512]
    every = train(tmp_path, {**small, "video": {"every": 256, "max_steps": 1}}, "every")
    resume(str(every), view=make_view("quiet"), total_frames=1024)
    assert filmed(every) == [256, 512, 768, 1024]


def _full(self: VideoWriter, picture: np.ndarray) -> None:
    raise StorageError("writing the video failed: the disk is full", hint="free some space")


@pytest.mark.parametrize("what", ["disk", "environment", "bug"])
def test_a_failure_is_one_warning_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    if what == "disk":
        monkeypatch.setattr(VideoWriter, "write", _full)
        expected = "the disk is full (free some space)"
    elif what == "environment":
        monkeypatch.setattr(filming, "PICTURES", "ansi")
        expected = "CartPole-v1 cannot draw pictures"
    else:
        monkeypatch.setattr(filming, "film", lambda *_, **__: 1 / 0)
        expected = "ZeroDivisionError: division by zero"
    small = spec(total_frames=512, env=SHORT, video={"max_steps": 1})
    summary = train_shown(small, run_dir=tmp_path / "run")
    assert summary.status == "finished"
    stderr = capsys.readouterr().err
    assert stderr.count("warning: no videos from here on: ") == 1
    assert expected in stderr
    assert [row["frames"] for row in events(tmp_path / "run", "note")] == [0]
    assert not list((tmp_path / "run").glob("videos/*"))
