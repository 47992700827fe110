"""What the user is told when an environment misbehaves."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Make
from walk import walk

from rl2cli.envs.seeding import episode_seed
from rl2cli.errors import EnvironmentFault


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
