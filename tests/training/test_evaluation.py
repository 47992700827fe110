"""Evaluations: which episodes count, what is computed from them, and that they repeat."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import made_up_parts
import numpy as np
import pytest
import torch
from small_runs import newest, rows, spec, train

import rl2cli
from rl2cli.envs import make_env_adapter
from rl2cli.training.evaluation import interval_95, play_episodes, student_t_975
from rl2cli.training.seeding import environment_seeds, make_generator


class _Actor:
    """Always chooses 0; stands for an algorithm."""

    class task:  # named as the attribute
        device = torch.device("cpu")

    def act(self, observation: Any, explore: Any = None, action_mask: Any = None) -> dict[str, torch.Tensor]:
        return {"action": torch.zeros(len(observation), dtype=torch.int64)}


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP", "DISABLED", None])
@pytest.mark.parametrize(("episodes", "num_envs"), [(7, 3), (2, 2), (5, 1)])
def test_episodes_are_assigned_beforehand_and_all_count(mode: str | None, episodes: int, num_envs: int) -> None:
    env_id = "MadeUpConstant-v0" if mode is None else f"MadeUpConstant{mode}-v0"
    with closing(make_env_adapter({"id": env_id, "num_envs": num_envs}, workers=0)) as env:
        played = play_episodes(_Actor(), env, episodes, np.arange(num_envs))
    # The first episode of environment n has 5 - n steps in a vector, 5 elsewhere; every later one has 5.
    quota = [episodes // num_envs + (n < episodes % num_envs) for n in range(num_envs)]
    first = [made_up_parts.HORIZON - (n if mode else 0) for n in range(num_envs)]
    expected = [length for n in range(num_envs) for length in [first[n]] + [made_up_parts.HORIZON] * (quota[n] - 1)]
    assert played.lengths.tolist() == expected
    assert played.returns.tolist() == expected


def test_short_episodes_are_not_favoured() -> None:
    # One environment's first episode has 2 steps, another's 5: taking the first two to finish would give 2 and 3.
    with closing(make_env_adapter({"id": "MadeUpConstantSAME_STEP-v0", "num_envs": 4}, workers=0)) as env:
        assert play_episodes(_Actor(), env, 4, np.arange(4)).lengths.tolist() == [5, 4, 3, 2]


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (4, 2.776),
        (5, 2.571),
        (9, 2.262),
        (19, 2.093),
        (99, 1.984),
        (10_000, 1.960),
    ],
)
def test_student_t_as_in_the_tables(degrees: int, quantile: float) -> None:
    assert student_t_975(degrees) == pytest.approx(quantile, abs=6e-3 if degrees < 5 else 1e-3)


def test_interval_by_hand() -> None:
    # standard deviation of 1, 2, 3, 4, 5 is 1.5811, divided by √5 0.7071, times 2.776
    assert interval_95(np.arange(1.0, 6.0)) == pytest.approx(1.963, abs=2e-3)
    assert interval_95(np.array([3.0])) == 0.0
    assert interval_95(np.full(9, 2.0)) == 0.0


def test_a_recorded_evaluation_is_what_the_loaded_policy_does(tmp_path: Path) -> None:
    settings = spec(evaluation={"every": 1024, "episodes": 6, "stochastic_episodes": 5})
    run = train(tmp_path, settings)
    recorded = [row for row in rows(run / "metrics.jsonl") if "evaluation/mean_return" in row]
    count = newest(run).state["evaluations"] - 1
    assert count + 1 == len(recorded)
    with (
        closing(rl2cli.load_policy(run, checkpoint="last")) as policy,
        closing(make_env_adapter(policy.spec.env, num_envs=6, workers=0)) as env,
    ):
        played = play_episodes(policy.algorithm, env, 6, environment_seeds(1, "evaluation", 6, count))
        assert played.returns.mean() == recorded[-1]["evaluation/mean_return"]
        assert played.returns.std() == recorded[-1]["evaluation/std_return"]
        assert interval_95(played.returns) == recorded[-1]["evaluation/interval"]
        explore = make_generator(1, "evaluation actions", torch.device("cpu"), count)
        with closing(make_env_adapter(policy.spec.env, num_envs=5, workers=0)) as few:
            drawn = play_episodes(policy.algorithm, few, 5, environment_seeds(1, "evaluation", 5, count), explore)
        assert drawn.returns.mean() == recorded[-1]["evaluation/stochastic_mean"]


def test_each_evaluation_has_other_episodes(tmp_path: Path) -> None:
    settings = spec(total_frames=512, algorithm={"learning_rate": 1e-12}, evaluation={"every": 128, "episodes": 4})
    found = [row["evaluation/mean_return"] for row in rows(train(tmp_path, settings) / "metrics.jsonl") if len(row) < 8]
    assert len(found) >= 4
    assert len(set(found)) > 1
