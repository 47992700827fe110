"""Truncation and termination in closed form, under every way in which environments reset.

Reward 1 for ever is worth 1 / (1 - gamma), also where an episode is cut after 5 steps; where it ends after 5 steps, the
state after t of them is worth (1 - gamma^(5 - t)) / (1 - gamma).
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import made_up_parts
import numpy as np
import pytest
import torch
from gymnasium import spaces
from ppo_task import make_ppo

import rl2cli
from rl2cli.algorithms.ppo import Batch
from rl2cli.envs import make_env_adapter
from rl2cli.training.rollout import Rollout

HORIZON, GAMMA = made_up_parts.HORIZON, 0.9
KINDS = ["MadeUpConstant-v0", *(f"MadeUpConstant{mode}-v0" for mode in ("NEXT_STEP", "SAME_STEP", "DISABLED"))]


def _true_value(observation: torch.Tensor, terminates: bool, gamma: float = GAMMA) -> torch.Tensor:
    left = HORIZON - observation[..., 0].double() if terminates else torch.full(observation.shape[:-1], torch.inf)
    return ((1.0 - gamma**left) / (1.0 - gamma)).float()


def _batch(env_id: str, terminates: bool, critic_terminates: bool) -> Batch:
    """Return what PPO with the true values for `critic_terminates` makes of 3 rollouts' last."""
    space = spaces.Box(0.0, HORIZON, (1,), np.float32)
    ppo = make_ppo(spaces.Discrete(2), space, num_envs=4, gamma=GAMMA, gae_lambda=0.95)
    ppo._value = lambda observation: _true_value(observation, critic_terminates)
    kwargs = {"terminates": terminates}
    with closing(make_env_adapter({"id": env_id, "num_envs": 4, "kwargs": kwargs}, workers=0)) as env:
        rollout = Rollout(8, 4, env.observation_space, torch.device("cpu"))
        observation, _ = env.reset(np.arange(4))
        for _ in range(3):
            rollout.begin(observation, None)
            for t in range(8):
                chosen = ppo.act(rollout.at(t)[0], torch.Generator().manual_seed(t))
                rollout.store(t, chosen, env.step(chosen["action"]))
            observation, _ = rollout.at(8)
            trajectories = rollout.finish()
        assert len(trajectories["final_index"]) >= 4
        return ppo.make_batch(trajectories)


@pytest.mark.parametrize("terminates", [False, True], ids=["truncated", "terminated"])
@pytest.mark.parametrize("env_id", KINDS)
def test_the_true_critic_has_no_advantage_anywhere(env_id: str, terminates: bool) -> None:
    batch = _batch(env_id, terminates, terminates)
    torch.testing.assert_close(batch.advantage, torch.zeros_like(batch.advantage), atol=2e-6, rtol=0)
    torch.testing.assert_close(batch.value_target, batch.value, atol=2e-6, rtol=0)


def test_a_wrong_critic_would_show() -> None:
    assert _batch(KINDS[0], terminates=True, critic_terminates=False).advantage.abs().max() > 0.5


@pytest.mark.slow
def test_ppo_finds_the_best_policy_of_a_chain_and_its_values(tmp_path: Path) -> None:
    spec = {
        "name": "chain",
        "total_frames": 12_288,
        "env": {"id": "MadeUpChain-v0", "num_envs": 32, "workers": 0},
        "network": {"hidden_sizes": [32]},
        "algorithm": {
            "rollout_length": 16,
            "minibatch_size": 128,
            "learning_rate": {"start": 1e-2, "end": 1e-3},
            "gamma": GAMMA,
        },
        "evaluation": {"every": 12_288, "episodes": 20, "stochastic_episodes": 0},
        "logging": {"tensorboard": False},
        "device": "cpu",
    }
    summary = rl2cli.train(spec, run_dir=tmp_path / "run")
    assert summary.evaluation is not None
    assert summary.evaluation.mean_return == 1.0
    with closing(rl2cli.load_policy(summary.run_dir, checkpoint="last")) as policy, torch.no_grad():
        assert [int(policy(state)) for state in range(1, 6)] == [1] * 5
        expected = GAMMA ** torch.arange(4.0, -1.0, -1.0)
        torch.testing.assert_close(policy.algorithm._value(torch.arange(1, 6)), expected, atol=0.05, rtol=0)
