"""Trainings whose result is known in closed form."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import made_up_parts
import pytest
import torch

import rl2cli

HORIZON = made_up_parts.HORIZON
KINDS = ["MadeUpConstant-v0", *(f"MadeUpConstant{mode}-v0" for mode in ("NEXT_STEP", "SAME_STEP", "DISABLED"))]


@pytest.mark.slow
@pytest.mark.parametrize("terminates", [False, True], ids=["truncated", "terminated"])
@pytest.mark.parametrize("env_id", KINDS)
def test_the_critic_learns_it(tmp_path: Path, env_id: str, terminates: bool) -> None:
    gamma = 0.5
    spec = {
        "name": "constant",
        "total_frames": 12_000,
        "env": {"id": env_id, "num_envs": 16, "workers": 0, "kwargs": {"terminates": terminates}},
        "network": {"hidden_sizes": [32]},
        "algorithm": {
            "rollout_length": 10,
            "minibatch_size": 80,
            "learning_rate": {"start": 3e-2, "end": 1e-3},
            "gamma": gamma,
        },
        "evaluation": {"episodes": 1, "stochastic_episodes": 0},
        "logging": {"tensorboard": False},
        "device": "cpu",
    }
    summary = rl2cli.train(spec, run_dir=tmp_path / "run")
    with closing(rl2cli.load_policy(summary.run_dir, checkpoint="last")) as policy, torch.no_grad():
        states = torch.arange(float(HORIZON)).unsqueeze(-1)
        torch.testing.assert_close(policy.algorithm._value(states), _true_value(terminates, gamma), atol=0.1, rtol=0)


def _true_value(terminates: bool, gamma: float) -> torch.Tensor:
    """Return the value [HORIZON] of reward 1 per step, to the end of the episode or for ever."""
    left = HORIZON - torch.arange(float(HORIZON)) if terminates else torch.full((HORIZON,), torch.inf)
    return (1.0 - gamma**left) / (1.0 - gamma)
