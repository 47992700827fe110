"""What the user is told when an environment misbehaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import Make
from walk import walk

from rl2cli.envs.checker import check_finite
from rl2cli.envs.seeding import episode_seed
from rl2cli.errors import EnvironmentFault, NonFiniteError


def test_an_exception_names_environment_seed_and_step(toy: Make) -> None:
    env = toy("Raises", 2)
    env.reset(np.array([5, 6]))
    with pytest.raises(EnvironmentFault) as caught:
        list(walk(env, 5))
    assert "environment 0 raised ZeroDivisionError in step: the wheel came off" in caught.value.message
    assert f"episode seed {episode_seed(5, 0)}, after 2 steps" in caught.value.message
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("WrongShape", r"environment 0: observation has shape \(3,\), its space says \(2,\)"),
        ("FlatReward", r"FlatReward-v0: reward has shape \(3, 1\), not \(3,\)"),
        ("WrongLater", r"environment 0: reward should be a number, got array\(\[1.\]\)"),
    ],
)
def test_a_broken_contract_is_found_at_the_first_step(toy: Make, name: str, message: str) -> None:
    env = toy(name)

    def begin() -> None:
        env.reset(np.arange(3))
        next(walk(env, 1))

    with pytest.raises(EnvironmentFault, match=message):
        begin()


def test_not_a_number_is_found_in_a_whole_rollout(toy: Make) -> None:
    env = toy("NotANumber")
    env.reset(np.arange(3))
    observations = torch.stack([step.observation for step in walk(env, 4)])  # [T, N, 2]
    with pytest.raises(NonFiniteError, match=r"observation.camera of environment 0 is nan at step 101"):
        check_finite("observation", {"camera": observations}, first_step=100)
    check_finite("observation", {"camera": observations[:1], "count": torch.ones(2, 2, dtype=torch.int64)})
    with pytest.raises(NonFiniteError, match="reward of environment 1 is -inf at step 0"):
        check_finite("reward", torch.tensor([[0.0, -torch.inf]]))
