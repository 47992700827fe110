"""A run that a signal cuts short anywhere, and that goes on, is the run that was never stopped, by its digest."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import made_up_parts
import pytest
from small_runs import checkpoints, newest, rows, spec, train

from rl2cli.envs.atari import AtariAdapter
from rl2cli.envs.gymnasium_vector import GymnasiumVectorAdapter
from rl2cli.envs.in_process import InProcessBatch
from rl2cli.errors import Interrupted, Stopped
from rl2cli.reporting.view import make_view
from rl2cli.training.build import build
from rl2cli.training.digest import digest_of
from rl2cli.training.evaluation import play_episodes
from rl2cli.training.session import resume

assert made_up_parts  # registers its environments

PONG = {
    "env": {"num_envs": 2, "max_episode_steps": 20, "image_size": [20, 20], "atari": {"noop_max": 0}},
    "network": {"name": "cnn", "channels": [4], "kernel_sizes": [4], "strides": [4]},
    "algorithm": {"rollout_length": 32, "clip_reward": 1.0},
    "total_frames": 192,
}
DQN = {"name": "dqn", "buffer_size": 100, "learning_starts": 20, "batch_size": 8}


def _interrupt_at_evaluation(patch: pytest.MonkeyPatch) -> None:
    """Send this process SIGINT when it begins to play the episodes of an evaluation."""

    def interrupted(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return play_episodes(*arguments)

    patch.setattr("rl2cli.training.evaluation.play_episodes", interrupted)


def _parts(run: Path) -> dict[str, str]:
    return digest_of(newest(run), run / "metrics.jsonl").parts


def _resume(run: Path) -> None:
    resume(str(run), view=make_view("quiet"))


def _interrupt_at(patch: pytest.MonkeyPatch, adapter: type[Any], count: int) -> None:
    """Send this process SIGINT in the step of that number, counted over training and evaluation."""
    step, left = adapter.step, [count]

    def counted(self: Any, action: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return step(self, action)

    patch.setattr(adapter, "step", counted)


@pytest.mark.parametrize(
    ("adapter", "env_id", "tables"),
    [
        pytest.param(GymnasiumVectorAdapter, "CartPole-v1", {}, marks=pytest.mark.slow),
        (GymnasiumVectorAdapter, "CartPole-v1", {"overlap": True}),
        (InProcessBatch, "LunarLander-v3", {"algorithm": {"normalize_observation": True}}),
        pytest.param(InProcessBatch, "MadeUpNested-v0", {}, marks=pytest.mark.slow),
        pytest.param(
            GymnasiumVectorAdapter,
            "CartPole-v1",
            {"algorithm": DQN, "total_frames": 256},
            marks=pytest.mark.slow,
        ),
        pytest.param(AtariAdapter, "ALE/Pong-v5", PONG, marks=pytest.mark.slow),
    ],
    ids=["native", "overlapped", "in process", "nested with masks", "replay", "pong"],
)
def test_stopped_at_any_step(tmp_path: Path, adapter: type[Any], env_id: str, tables: dict[str, Any]) -> None:
    settings = spec(env_id, **{"total_frames": 384, "num_envs": 4, **tables})
    settings["evaluation"] |= {"every": 200}
    if tables.get("algorithm") is DQN:
        settings["algorithm"] = DQN
    run = train(tmp_path, settings)
    for count in (1, 5, 17, 58):  # in the first and the second rollout, and in an evaluation or near one
        stopped = tmp_path / f"stopped{count}"
        with pytest.MonkeyPatch.context() as patch:
            _interrupt_at(patch, adapter, count)
            with pytest.raises(Stopped, match="SIGINT"):
                train(tmp_path, settings, stopped.name)
        frames = newest(stopped).frames
        assert json.loads((stopped / "summary.json").read_text())["frames"] == frames <= newest(run).frames
        _resume(stopped)
        assert _parts(stopped) == _parts(run)
        assert (stopped / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()


def test_a_rollout_is_not_gone_on_with_after_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    step = GymnasiumVectorAdapter.step

    def counted(self: Any, action: Any) -> Any:
        steps.append(1)
        return step(self, action)

    monkeypatch.setattr(GymnasiumVectorAdapter, "step", counted)
    _interrupt_at(monkeypatch, GymnasiumVectorAdapter, 21)
    with pytest.raises(Stopped):
        train(tmp_path, spec(num_envs=4, total_frames=640))
    assert len(steps) == 21
    (saved,) = checkpoints(tmp_path / "run")
    assert saved <= 16 * 4  # of a rollout; rows that only reset are no frames


@pytest.mark.parametrize("overlap", [False, True])
def test_the_last_evaluation_is_made_up_for(tmp_path: Path, overlap: bool) -> None:
    settings = spec("MadeUpRewards-v0", 256, overlap=overlap)
    run = train(tmp_path, settings)
    with pytest.MonkeyPatch.context() as patch:
        _interrupt_at_evaluation(patch)
        with pytest.raises(Stopped):
            train(tmp_path, settings, "stopped")
    stopped = tmp_path / "stopped"
    assert newest(stopped).state["evaluation"] is None
    _resume(stopped)
    assert newest(stopped).state["evaluation"]["mean_return"] == 600.0
    assert json.loads((stopped / "checkpoints" / "best.json").read_text())["frames"] == 256
    assert _parts(stopped) == _parts(run)
    before = rows(stopped / "metrics.jsonl")
    _resume(stopped)  # there is nothing left to make up for
    assert rows(stopped / "metrics.jsonl") == before


def test_a_signal_before_a_resumed_run_goes_on_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(tmp_path, spec("MadeUpRewards-v0", 256))

    def interrupted(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return build(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("rl2cli.training.session.build", interrupted)
        with pytest.raises(Interrupted, match="SIGTERM") as caught:
            resume(str(run), view=make_view("quiet"), total_frames=512)
    assert caught.value.signal_number == signal.SIGTERM
    assert str(run) in str(caught.value.hint)
    assert not (run / ".lock-holder").exists()
    resume(str(run), view=make_view("quiet"), total_frames=512)
    assert newest(run).frames == 512
