"""A number that is not finite, put in at each place in turn: it is found, named and reported, and never saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from safetensors.torch import load_file
from small_runs import checkpoints, newest, spec

import rl2cli
from rl2cli.algorithms.adam import FlatAdam
from rl2cli.errors import NonFiniteError
from rl2cli.training.rollout import Rollout

SPECS: dict[str, dict[str, Any]] = {
    "ppo": spec(total_frames=1024),
    **{
        name: spec(
            "CartPole-v1" if name == "dqn" else "Pendulum-v1",
            total_frames=400,
            algorithm={"name": name, "learning_starts": 64, "batch_size": 16, "buffer_size": 2000},
        )
        for name in ("sac", "dqn", "td3", "tqc")
    },
}
for each in SPECS.values():
    each["checkpoint"] = {"every": 64}
    each["evaluation"] = {"every": 10_000, "episodes": 1, "stochastic_episodes": 0}
    each["logging"] = {"tensorboard": False}
for name in ("sac", "dqn", "td3", "tqc"):
    SPECS[name]["algorithm"] = {
        key: value for key, value in SPECS[name]["algorithm"].items() if key not in ("minibatch_size", "epochs")
    } | {"rollout_length": 1}


def at_call(count: int, kind: type, method: str, poison: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call `poison` with the method and its arguments, in place of the `count`-th call of it."""
    real, calls = getattr(kind, method), 0

    def wrapped(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return poison(real, *arguments) if calls == count else real(*arguments)

    monkeypatch.setattr(kind, method, wrapped)


def observation(store: Any, rollout: Rollout, t: int, chosen: Any, step: Any) -> None:
    step.observation[1, 0] = torch.nan
    store(rollout, t, chosen, step)


def reward(store: Any, rollout: Rollout, t: int, chosen: Any, step: Any) -> None:
    step.reward[1] = torch.inf
    store(rollout, t, chosen, step)


def loss(take: Any, optimizer: FlatAdam, value: torch.Tensor) -> torch.Tensor:
    return take(optimizer, value * torch.nan)


def gradient(apply: Any, optimizer: FlatAdam, gradients: Any) -> torch.Tensor:
    return apply(optimizer, [*gradients[:-1], gradients[-1] + torch.inf])


def weight(apply: Any, optimizer: FlatAdam, gradients: Any) -> torch.Tensor:
    norm = apply(optimizer, gradients)
    optimizer.flat[3] = torch.nan
    return norm


PLACES: dict[str, tuple[type, str, Callable[..., Any], str]] = {
    "observation": (Rollout, "store", observation, "environment 1 returned an observation that is not finite"),
    "reward": (Rollout, "store", reward, "environment 1 returned a reward that is not finite"),
    "loss": (FlatAdam, "step", loss, "not finite in"),
    "gradient": (FlatAdam, "apply_gradient", gradient, "not finite in"),
    "weight": (FlatAdam, "apply_gradient", weight, "not finite in"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "algorithm", ["ppo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sac", "dqn", "td3", "tqc"))]
)
def test_it_is_caught_named_reported_and_never_saved(
    algorithm: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, method, poison, words = PLACES[place]
    at_call(40, kind, method, poison, monkeypatch)
    run = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=words) as caught:
        rl2cli.train(SPECS[algorithm], run_dir=run)
    assert "nan_report has the tensors and the last steps" in str(caught.value.hint)
    report = json.loads((run / "nan_report/report.json").read_text())
    tensors = load_file(run / "nan_report/tensors.safetensors")
    assert report["message"] == caught.value.message
    assert len(tensors["rollout/reward"]) > 0
    if place in ("observation", "reward", "weight"):
        assert any(facts.get("nan", 0) + facts.get("infinite", 0) for facts in report["tensors"].values())
    saved = newest(run)
    assert 0 < saved.frames == checkpoints(run)[-1]
    assert all(
        tensor.isfinite().all() for tensor in saved.state["algorithm"].values() if isinstance(tensor, torch.Tensor)
    )


def test_a_report_has_a_limit_and_says_what_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2cli.training.nan_report.MAX_BYTES", 3000)
    at_call(40, Rollout, "store", reward, monkeypatch)
    with pytest.raises(NonFiniteError):
        rl2cli.train(SPECS["ppo"], run_dir=tmp_path / "run")
    folder = tmp_path / "run" / "nan_report"
    report = json.loads((folder / "report.json").read_text())
    assert report["left_out"]
    assert (folder / "tensors.safetensors").stat().st_size < 3000 + 5000
    assert report["tensors"]["rollout/reward"]["infinite"] == 1


def test_an_evaluation_that_is_not_finite_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = CartPoleVectorEnv.step

    def step(env: Any, action: Any) -> Any:
        observation, *rest = real(env, action)
        return (np.full_like(observation, np.nan) if env.num_envs == 1 else observation, *rest)

    monkeypatch.setattr(CartPoleVectorEnv, "step", step)
    settings = {**SPECS["ppo"], "evaluation": {"every": 64, "episodes": 1, "stochastic_episodes": 0}}
    with pytest.raises(NonFiniteError, match=r"environment 0 returned an observation .* in an evaluation"):
        rl2cli.train(settings, run_dir=tmp_path / "run")
