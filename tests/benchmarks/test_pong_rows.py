"""The rows of Pong without a real measurement: which sides are compared, over what, and that settings are equal."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import ONE, TWO, peer_script, run_of

from rl2cli.algorithms.ppo_options import PPOOptions
from rl2cli.benchmarks import own, pong_rows
from rl2cli.benchmarks.bench import Bench
from rl2cli.benchmarks.comparison import OURS
from rl2cli.benchmarks.peer import Peer
from rl2cli.benchmarks.rows import measure
from rl2cli.envs.gymnasium_options import AtariOptions, GymnasiumOptions
from rl2cli.networks.cnn_options import CNNOptions
from rl2cli.spec import load_spec_text


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(pong_rows, "thread_counts", lambda: [1, 2])
    monkeypatch.setattr(Peer, "rate", lambda self, task, seed, frames, threads: {1: 80.0, 2: 100.0}[threads])
    return Bench(tmp_path, Peer("python", {"stable-baselines3": "2.9.2"}), lambda line: None, repeats=2)


def test_speed_is_compared_with_the_best_number_of_threads(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "train", lambda spec, *, seed: run_of(rate=300.0))
    (found,) = measure(bench, "pong-standard")
    assert dict(found.samples) == {OURS: [300.0] * 2, ONE: [80.0] * 2, TWO: [100.0] * 2}
    assert (found.ratio, found.verdict) == (3.0, "must met")


def test_both_sides_have_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load_spec_text(pong_rows.STANDARD_SPEC.format(frames=20_480)).spec
    ours, env, task = spec.algorithm.options, spec.env.options, peer_script(monkeypatch).TASKS["pong"]
    assert isinstance(ours, PPOOptions)
    assert isinstance(env, GymnasiumOptions)
    theirs = task.arguments
    assert (ours.rollout_length, ours.minibatch_size, ours.epochs) == (128, 256, 4)
    assert (theirs["n_steps"], theirs["batch_size"], theirs["n_epochs"]) == (128, 256, 4)
    assert (ours.entropy_coef, ours.value_coef) == (theirs["ent_coef"], theirs["vf_coef"])
    assert (env.id, spec.env.num_envs) == (task.environment, task.num_envs) == ("ALE/Pong-v5", 8)
    assert env.atari == AtariOptions()
    assert (env.image_size, env.grayscale, env.frame_stack) == ([84, 84], True, 4)
    assert spec.network.options == CNNOptions()  # NatureCNN, shared by actor and critic as SB3 does
    assert ours.share_network


def test_the_shipped_spec_is_measured_for_a_number_of_frames(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(own, "train", lambda spec, *arguments, seed: calls.append(arguments) or run_of(rate=1500.0))
    (found,) = measure(bench, "pong-shipped")
    assert (dict(found.samples), found.verdict) == ({OURS: [1500.0] * 2}, "must met")
    assert calls[0][0] == "--frames=60000"


def test_time_to_the_target_is_in_minutes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations = (600.0, 1_000_000, 10.0), (1200.0, 2_000_000, 18.5)
    monkeypatch.setattr(own, "train", lambda spec, *, seed, limit: run_of(*evaluations))
    (found,) = measure(bench, "pong-solve")
    assert dict(found.samples) == {OURS: [20.0] * 2}
    assert dict(found.details) == {f"{OURS}: frames until then": [2_000_000.0] * 2}
    assert found.verdict == "must met"
