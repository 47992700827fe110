"""Numbers from -1 to 1 and the bounds of a Box."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from replay_task import BOX, make

from rl2cli.algorithms.box_actions import BoxActions
from rl2cli.algorithms.sac import SAC
from rl2cli.algorithms.td3 import TD3
from rl2cli.algorithms.tqc import TQC
from rl2cli.errors import UsageError


def test_asymmetric_bounds() -> None:
    actions = BoxActions(BOX, "td3")  # from -2 to 1, 0 to 0.5, 5 to 9
    unit = torch.tensor([[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, -0.5, 0.25]])
    expected = torch.tensor([[-2.0, 0.0, 5.0], [-0.5, 0.25, 7.0], [1.0, 0.5, 9.0], [0.25, 0.125, 7.5]])
    torch.testing.assert_close(actions.to_env(unit), expected)
    torch.testing.assert_close(actions.to_unit(expected), unit)
    assert actions.width == 3


def test_nothing_is_clipped() -> None:
    actions = BoxActions(BOX, "td3")
    beyond = torch.tensor([[3.0, -2.0, 1.5]])
    torch.testing.assert_close(actions.to_unit(actions.to_env(beyond)), beyond)


def test_a_box_of_several_dimensions() -> None:
    low = np.arange(6, dtype=np.float64).reshape(2, 3)
    actions = BoxActions(spaces.Box(low, low + 2.0, dtype=np.float64), "td3")
    unit = torch.zeros(5, 6)
    assert actions.to_env(unit).shape == (5, 2, 3)
    assert actions.to_env(unit).dtype == torch.float32
    torch.testing.assert_close(actions.to_env(unit)[0], torch.from_numpy(low).float() + 1.0)
    torch.testing.assert_close(actions.to_unit(actions.to_env(unit)), unit)


def test_a_box_of_one_number_without_a_dimension() -> None:
    actions = BoxActions(spaces.Box(0.0, 4.0, (), np.float32), "td3")
    unit = torch.tensor([[-1.0], [0.5]])
    torch.testing.assert_close(actions.to_env(unit), torch.tensor([0.0, 3.0]))
    torch.testing.assert_close(actions.to_unit(actions.to_env(unit)), unit)


def test_a_bound_that_leaves_no_choice_keeps_what_the_policy_chose() -> None:
    box = spaces.Box(np.array([2.0, -1.0], np.float32), np.array([2.0, 1.0], np.float32))
    actions = BoxActions(box, "td3")
    unit = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    assert actions.to_env(unit).isfinite().all()
    assert actions.to_env(unit)[1, 0] == 2.0
    torch.testing.assert_close(actions.to_unit(actions.to_env(unit)), unit)


def test_the_widest_bounds_of_a_float() -> None:
    limit = np.finfo(np.float32).max
    actions = BoxActions(spaces.Box(-limit, limit, (1,), np.float32), "td3")
    assert actions.to_env(torch.tensor([[-1.0], [1.0]])).isfinite().all()


def test_a_box_of_whole_numbers() -> None:
    actions = BoxActions(spaces.Box(0, 10, (1,), np.int64), "td3")
    torch.testing.assert_close(actions.to_env(torch.tensor([[-1.0], [0.5]])), torch.tensor([[0.0], [7.5]]))


@pytest.mark.parametrize("algorithm", [SAC, TD3, TQC])
def test_a_box_without_bounds_is_refused(algorithm: Any) -> None:
    name = algorithm.__name__.lower()
    for box in (
        spaces.Box(-np.inf, np.inf, (2,), np.float32),
        spaces.Box(np.zeros(2, np.float32), np.array([1.0, np.inf], np.float32)),
    ):
        with pytest.raises(UsageError) as caught:
            make(algorithm, box)
        assert caught.value.message.startswith(f"{name} needs bounds for every action, and Box(")
        assert caught.value.message.endswith("has infinite ones")
        assert caught.value.hint == (
            "rescale the actions (gymnasium.wrappers.RescaleAction), or use ppo, which needs no bounds"
        )


@pytest.mark.parametrize("algorithm", [TD3, TQC])
def test_a_choice_is_refused_with_those_that_can_make_it(algorithm: Any) -> None:
    with pytest.raises(UsageError) as caught:
        make(algorithm, spaces.Discrete(3))
    assert caught.value.message == f"{algorithm.__name__.lower()} cannot act in Discrete(3)"
    assert caught.value.hint == "ppo, sac and dqn can"


@pytest.mark.parametrize("algorithm", [SAC, TD3, TQC])
def test_only_ppo_takes_other_spaces(algorithm: Any) -> None:
    with pytest.raises(UsageError) as caught:
        make(algorithm, spaces.MultiDiscrete([2, 2]))
    assert caught.value.message == f"{algorithm.__name__.lower()} cannot act in MultiDiscrete([2 2])"
    assert caught.value.hint == "ppo can"
