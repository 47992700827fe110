"""What the user is told when an environment misbehaves."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from makes import Make
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
        ("FlatReward", r"FlatReward-v0 \(environments 0 to 2\): reward has shape \(3, 1\), not \(3,\)"),
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


CONTRACT = {
    "raises": "raised ZeroDivisionError in step: the wheel came off",
    "wrong_shape": "observation has shape",
    "narrow_shape": "observation has shape",
    "wrong_dtype": "observation has dtype",
    "wrong_type": "observation has",
    "reward_is_text": "reward",
    "flag_is_number": "terminated",
    "out_of_bounds": "observation is outside its space",
    "too_many_values": "got 6 values",
}


@pytest.mark.parametrize("vectorization", ["single", "native"])
@pytest.mark.parametrize("fault", CONTRACT)
def test_what_goes_wrong_later_is_named_too(
    make: Make, fault: str, vectorization: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The faults of `tests/rigs/environment_faults.py` that end no process, in this one."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "rigs"))
    monkeypatch.setattr("rl2cli.trust._granted", {"fault_environments"})
    if "fault_environments" in sys.modules:
        monkeypatch.setattr("fault_environments._instances", itertools.count())
    settings = {"fault": fault, "at": 25, "folder": str(tmp_path)}
    env = make("fault_environments:Faulty-v0", 4, vectorization=vectorization, kwargs=settings)
    env.reset(np.arange(4))
    with pytest.raises(EnvironmentFault) as caught:
        list(walk(env, 40))
    assert CONTRACT[fault] in caught.value.message
    assert ("environments 0 to 3" if vectorization == "native" else "environment 1") in caught.value.message
    assert "after" in caught.value.message
