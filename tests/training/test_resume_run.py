"""A run that goes on from a checkpoint is the run that was never interrupted, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import made_up_parts
import pytest
import torch
from small_runs import checkpoints, differences, newest, rows, spec, train

from rl2cli.envs.in_process import InProcessBatch
from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.reporting.view import make_view
from rl2cli.spec import spec_to_dict
from rl2cli.training.run_folder import RunFolder
from rl2cli.training.session import resume
from rl2cli.training.trainer import Trainer

assert made_up_parts  # registers its environments


def _as_it_was(run: Path, share: float = 0.5) -> Path:
    """Return a copy of a run's folder with the first `share` of its checkpoints, as a kill would have left it."""
    saved = checkpoints(run)
    frames = saved[int(len(saved) * share) - 1]
    copy = run.with_name("killed")
    shutil.copytree(run, copy)
    for later in [each for each in checkpoints(copy) if each > frames]:
        shutil.rmtree(copy / "checkpoints" / f"{later:015}")
    (copy / "summary.json").unlink()
    assert checkpoints(copy)[-1] == frames < saved[-1]
    return copy


def _resume(run: Path, **arguments: Any) -> None:
    resume(str(run), view=make_view("quiet"), **arguments)


def _scalar_steps(folder: Path) -> dict[str, list[int]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


PONG = {
    "env": {
        "num_envs": 4,
        "max_episode_steps": 20,
        "image_size": [20, 20],
        "atari": {"terminal_on_life_loss": True, "noop_max": 0},
    },
    "network": {"name": "cnn", "channels": [4], "kernel_sizes": [4], "strides": [4]},
    "algorithm": {"rollout_length": 32, "share_network": True, "clip_reward": 1.0, "normalize_observation": True},
    "total_frames": 384,
    "checkpoint": {"every": 128, "keep": 20},
    "evaluation": {"every": 384},
}


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize(
    ("env_id", "tables"),
    [
        ("CartPole-v1", {}),
        (
            "CartPole-v1",
            {"algorithm": {"normalize_observation": True, "normalize_reward": True, "adaptive_kl": 0.01}},
        ),
        ("LunarLander-v3", {"algorithm": {"learning_rate": {"start": 1e-3, "end": 0.0}}}),
        ("Pendulum-v1", {}),
        pytest.param("ALE/Pong-v5", PONG, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path: Path, env_id: str, tables: dict[str, Any], overlap: bool
) -> None:
    often: dict[str, Any] = {"checkpoint": {"every": 256, "keep": 20}, "evaluation": {"every": 700}}
    settings = spec(env_id, **{"total_frames": 2048, "overlap": overlap, **often, **tables})
    run = train(tmp_path, settings)
    copy = _as_it_was(run)
    _resume(copy)
    assert (copy / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
    assert list(differences(newest(run).state, newest(copy).state)) == []
    assert checkpoints(copy) == checkpoints(run)
    summary, expected = (json.loads((each / "summary.json").read_text()) for each in (copy, run))
    for key in ("status", "frames", "evaluation"):
        assert summary[key] == expected[key]
    (session,) = json.loads((copy / "run.json").read_text())["resumed"]
    assert session["resumed_from"] in checkpoints(copy)[:-1]


def test_tensorboard_has_no_point_twice(tmp_path: Path) -> None:
    run = train(tmp_path, spec(checkpoint={"every": 256, "keep": 20}))
    copy = _as_it_was(run)
    _resume(copy)
    whole, resumed = _scalar_steps(run / "tensorboard"), _scalar_steps(copy / "tensorboard")
    assert whole["loss/policy"] == [row["frames"] for row in rows(run / "metrics.jsonl") if "loss/policy" in row]
    for tag in ("loss/policy", "rollout/return_mean", "evaluation/mean_return"):
        assert resumed[tag] == whole[tag]


def test_more_frames_go_on_and_stay_wanted(tmp_path: Path) -> None:
    run = train(tmp_path, spec("MadeUpConstant-v0", 512, checkpoint={"every": 128, "keep": 20}))
    _resume(run, total_frames=1024)
    assert newest(run).frames == 1024
    assert rows(run / "metrics.jsonl")[-1]["frames"] == 1024
    assert json.loads((run / "summary.json").read_text())["total_frames"] == 1024
    copy = _as_it_was(run, 0.75)
    _resume(copy)  # the total of the last session, not of the spec
    assert newest(copy).frames == 1024
    assert (copy / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()


def test_more_frames_after_schedules_ended_keep_their_end(tmp_path: Path) -> None:
    settings = spec("MadeUpConstant-v0", 512, algorithm={"learning_rate": {"start": 1e-3, "end": 1e-4}})
    run = train(tmp_path, settings)
    _resume(run, total_frames=768)
    rates = {row["frames"]: row["loss/learning_rate"] for row in rows(run / "metrics.jsonl") if "loss/policy" in row}
    assert rates[256] == pytest.approx(5.5e-4)
    assert rates[512] == rates[640] == rates[768] == pytest.approx(1e-4)


def test_a_finished_run_has_nothing_to_resume(tmp_path: Path) -> None:
    run = train(tmp_path, spec(total_frames=256))
    before = (run / "metrics.jsonl").read_bytes()
    frames = json.loads((run / "summary.json").read_text())["frames"]
    _resume(run)
    assert (run / "metrics.jsonl").read_bytes() == before
    assert json.loads((run / "summary.json").read_text())["frames"] == frames


def test_a_run_that_another_holds_is_refused(tmp_path: Path) -> None:
    run = train(tmp_path, spec(total_frames=256))
    with RunFolder.open(run) as folder:
        folder.lock()
        with pytest.raises(UsageError, match="another process"):
            _resume(run)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    run = train(tmp_path, spec(total_frames=1024, checkpoint={"every": 256, "keep": 20}))
    copy = _as_it_was(run)
    tensors = copy / "checkpoints" / f"{checkpoints(copy)[-1]:015}" / "state.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    _resume(copy)
    assert list(differences(newest(run).state, newest(copy).state)) == []
    assert (copy / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a device that is not there")
def test_a_run_from_a_device_that_is_not_there_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a GPU leaves: its name in the spec, and generators whose states the CPU's cannot take.
    states = {name: torch.zeros(16, dtype=torch.uint8) for name in ("policy", "minibatches")}
    get_state = Trainer.get_state
    with monkeypatch.context() as patch:
        patch.setattr("rl2cli.training.session.spec_to_dict", lambda spec: {**spec_to_dict(spec), "device": "cuda"})
        patch.setattr(Trainer, "get_state", lambda self: {**get_state(self), "generators": states})
        run = train(tmp_path, spec("MadeUpConstant-v0", 256))
    _resume(run, total_frames=512)
    notes = [row["text"] for row in rows(run / "timings.jsonl") if row["event"] == "note"]
    assert any("device 'cuda' is not there" in note for note in notes)
    assert any("random numbers start anew" in note for note in notes)
    assert newest(run).frames == 512
    assert newest(run).metadata["spec"]["device"] == "cpu"


def test_episodes_that_cannot_be_repeated_begin_anew_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = spec("LunarLander-v3", 1024, checkpoint={"every": 256, "keep": 20})
    copy = _as_it_was(train(tmp_path, settings))

    def refuse(self: InProcessBatch, state: dict[str, Any]) -> None:
        raise EnvironmentFault("environment 3 is not where it was")

    monkeypatch.setattr(InProcessBatch, "set_state", refuse)
    _resume(copy)
    assert json.loads((copy / "summary.json").read_text())["frames"] >= 1024
    assert "environment 3 is not where it was" in (copy / "log.txt").read_text()
