"""Continuous actions whose best choice and worth are known in closed form."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import made_up_parts  # noqa: F401  # registers the environments
import pytest
import torch

import rl2cli
from rl2cli.algorithms.sac import SAC, ContinuousPolicy
from rl2cli.algorithms.td3 import TD3
from rl2cli.algorithms.tqc import TQC

WITHOUT_NOISE: dict[str, dict[str, Any]] = {
    "sac": {"entropy_coef": 1e-3},
    "td3": {"exploration_noise": 0.3, "target_noise": 0.0},
    "tqc": {"entropy_coef": 1e-3, "quantiles": 5, "dropped_quantiles": 0},
}
"""Options with which an algorithm wants nothing but the return."""


def _train(folder: Path, env_id: str, total_frames: int, name: str, **options: Any) -> Path:
    spec = {
        "name": "known",
        "total_frames": total_frames,
        "env": {"id": env_id, "num_envs": 8, "workers": 0},
        "network": {"hidden_sizes": [32]},
        "algorithm": {"name": name, "batch_size": 64, **WITHOUT_NOISE[name], **options},
        "evaluation": {"episodes": 1, "stochastic_episodes": 0},
        "logging": {"tensorboard": False},
        "device": "cpu",
    }
    return Path(rl2cli.train(spec, run_dir=folder / "run").run_dir)


def _action_and_worth(run: Path, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the policy does in `state` [B, 1], [B, act], and what the critics say of it, [B]."""
    with closing(rl2cli.load_policy(run, checkpoint="last")) as policy, torch.no_grad():
        algorithm = policy.algorithm
        assert isinstance(algorithm, SAC | TD3 | TQC)
        action = algorithm.act(state)["action"]
        actions = algorithm.actions if isinstance(algorithm, TD3) else _scaling(algorithm)
        return action, algorithm.critics(state, actions.to_unit(action)).mean((0, 2))


def _scaling(algorithm: SAC | TQC) -> Any:
    assert not isinstance(algorithm, SAC) or isinstance(algorithm.policy, ContinuousPolicy)
    return algorithm.policy.actions


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_NOISE)
def test_a_target_is_found_in_one_step(tmp_path: Path, name: str) -> None:
    options = {"learning_starts": 1000, "updates_per_frame": 0.5, "tau": 0.05}
    rate = {"start": 3e-3, "end": 1e-3}
    run = _train(tmp_path, "MadeUpTarget-v0", 5000, name, learning_rate=rate, **options)
    state = torch.linspace(-0.9, 0.9, 7).unsqueeze(1)
    action, worth = _action_and_worth(run, state)
    best = torch.cat([0.5 + state, torch.full_like(state, -1.0)], -1)
    torch.testing.assert_close(action, best, atol=0.3, rtol=0)
    torch.testing.assert_close(worth, torch.full((7,), 3.0), atol=0.25, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_NOISE)
def test_a_regulator_is_riccatis(tmp_path: Path, name: str) -> None:
    options = {"learning_starts": 1000, "tau": 0.05, "gamma": 0.9}
    rate = {"start": 1e-2, "end": 3e-4}
    run = _train(tmp_path, "MadeUpRegulator-v0", 4000, name, learning_rate=rate, **options)
    state = torch.linspace(-1.0, 1.0, 9).unsqueeze(1)
    action, worth = _action_and_worth(run, state)
    torch.testing.assert_close(action, -5.0 / 9.0 * state, atol=0.15, rtol=0)
    torch.testing.assert_close(worth, -10.0 / 9.0 * state.squeeze(1).square(), atol=0.15, rtol=0)
