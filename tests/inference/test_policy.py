"""A trained policy, loaded and measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import gymnasium
import made_up_parts
import numpy as np
import pytest

import rl2cli
from rl2cli.errors import NoCheckpointError, UsageError
from rl2cli.inference.benchmark import benchmark
from rl2cli.inference.policy import Policy

assert made_up_parts  # registers its environments

SPEC = {
    "name": "cartpole",
    "total_frames": 1024,
    "device": "cpu",
    "env": {"id": "CartPole-v1", "num_envs": 8, "workers": 0},
    "network": {"hidden_sizes": [16]},
    "algorithm": {"rollout_length": 16, "minibatch_size": 32, "normalize_observation": True},
    "evaluation": {"every": 256, "episodes": 2, "stochastic_episodes": 0},
    "checkpoint": {"every": 256, "keep": 9},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(rl2cli.train(SPEC, run_dir=tmp_path_factory.mktemp("runs") / "run").run_dir)


@pytest.fixture
def policy(run: Path) -> Iterator[Policy]:
    with closing(rl2cli.load_policy(run)) as loaded:
        yield loaded


def _frames(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit())


def test_it_acts_in_a_plain_gymnasium_environment(policy: Policy) -> None:
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=0)
    actions = []
    for _ in range(100):
        action = policy(observation)
        assert env.action_space.contains(action)
        assert action == policy(observation)
        actions.append(int(action))
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    env.close()
    drawn = {int(policy(np.zeros(4, np.float32), stochastic=True)) for _ in range(100)}
    assert drawn == {0, 1}


def test_which_checkpoint(run: Path) -> None:
    frames = _frames(run)
    best = json.loads((run / "checkpoints" / "best.json").read_text())["frames"]
    for which, expected in [("best", best), ("last", frames[-1]), (str(frames[0]), frames[0])]:
        with closing(rl2cli.load_policy(run, checkpoint=which)) as policy:
            assert policy.checkpoint.frames == expected
    with closing(rl2cli.load_policy(run / "checkpoints" / f"{frames[1]:015}")) as policy:
        assert policy.checkpoint.frames == frames[1]
    with pytest.raises(UsageError, match="unknown checkpoint 'newest'"):
        rl2cli.load_policy(run, checkpoint="newest")
    with pytest.raises(NoCheckpointError, match="frame 7 "):
        rl2cli.load_policy(run, checkpoint="7")
    with pytest.raises(UsageError, match="no such run"):
        rl2cli.load_policy(run / "nowhere")


def test_weights_and_statistics_come_together(policy: Policy) -> None:
    moments = policy.algorithm.normalizer.moments
    assert moments.count > 200
    saved = policy.checkpoint.state["algorithm"]
    assert np.array_equal(moments.mean, saved["normalizer.moments.mean"])
    assert np.array_equal(policy.algorithm.normalizer.scale, saved["normalizer.scale"])


def test_a_benchmark_repeats_and_changes_nothing(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    one, again = benchmark(str(run), episodes=5, seed=3), benchmark(str(run), episodes=5, seed=3)
    times = ("frames_per_second",)
    assert {key: one[key] for key in one if key not in times} == {key: again[key] for key in one if key not in times}
    assert one["episodes"] == 5
    assert one["min_return"] <= one["mean_return"] <= one["max_return"]
    assert one["mean_length"] == one["mean_return"]  # CartPole pays 1 per frame
    assert one["seed"] == 3
    assert benchmark(str(run), episodes=5)["seed"] == benchmark(str(run), episodes=5)["seed"] != 3
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_stochastic_benchmark_differs(run: Path) -> None:
    plain, drawn = benchmark(str(run), episodes=8, seed=3), benchmark(str(run), episodes=8, seed=3, stochastic=True)
    assert drawn["stochastic"]
    assert plain["mean_return"] != drawn["mean_return"]


def test_a_damaged_best_checkpoint_is_replaced_and_told_and_stays_in_place(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    best = json.loads((copy / "checkpoints" / "best.json").read_text())["frames"]
    tensors = copy / "checkpoints" / f"{best:015}" / "state.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    others = [frames for frames in _frames(copy) if frames != best]
    found = benchmark(str(copy), episodes=1)
    assert found["frames"] == others[-1]
    assert any("damaged" in note for note in found["notes"])
    assert tensors.exists()


def test_nested_observations_and_masks(tmp_path: Path) -> None:
    spec = {**SPEC, "env": {"id": "MadeUpNested-v0", "num_envs": 8, "workers": 0}, "total_frames": 256}
    summary = rl2cli.train(spec, run_dir=tmp_path / "run")
    with closing(rl2cli.load_policy(summary.run_dir)) as policy:
        env = gymnasium.make("MadeUpNested-v0")
        observation, info = env.reset()
        for _ in range(4):  # the environment refuses an action that its mask forbids
            action = policy(observation, action_mask=info["action_mask"], stochastic=True)
            observation, *_, info = env.step(action)
        env.close()
    assert benchmark(summary.run_dir, episodes=2)["mean_return"] == 4.0


def test_continuous_actions_are_inside_their_bounds(tmp_path: Path) -> None:
    spec = {**SPEC, "env": {"id": "Pendulum-v1", "num_envs": 8, "workers": 0}, "total_frames": 128}
    spec["algorithm"] = {"rollout_length": 16, "minibatch_size": 32, "log_std_init": 3.0}
    summary = rl2cli.train(spec, run_dir=tmp_path / "run")
    with closing(rl2cli.load_policy(summary.run_dir)) as policy:
        actions = [policy(np.array([1.0, 0.0, 0.5], np.float32), stochastic=True) for _ in range(50)]
        assert all(policy.action_space.contains(action) for action in actions)
        assert len({float(action[0]) for action in actions}) > 5


def test_it_takes_observations_as_the_environment_has_them(tmp_path: Path) -> None:
    spec = {**SPEC, "env": {"id": "Blackjack-v1", "num_envs": 8, "workers": 0}, "total_frames": 128}
    summary = rl2cli.train(spec, run_dir=tmp_path / "run")
    with closing(rl2cli.load_policy(summary.run_dir)) as policy, closing(gymnasium.make("Blackjack-v1")) as env:
        observation, _ = env.reset(seed=0)
        assert isinstance(observation, tuple)
        assert policy.observation_space.contains(observation)
        assert env.action_space.contains(policy(observation))
