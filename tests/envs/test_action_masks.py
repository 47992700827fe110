from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from makes import Make
from walk import walk


@pytest.mark.parametrize("name", ["MaskInInfo", "MaskInObservation", "SameStepMasked"])
def test_mask_belongs_to_the_current_observation(toy: Make, name: str) -> None:
    env = toy(name)
    assert env.has_action_mask
    observation, info = env.reset(np.arange(3))
    state = observation["state"] if isinstance(observation, dict) else observation
    assert_allows_t(info["action_mask"], state)
    for step in walk(env, 15):
        state = step.observation["state"] if isinstance(step.observation, dict) else step.observation
        assert_allows_t(step.info["action_mask"], state)


def assert_allows_t(mask: torch.Tensor, state: torch.Tensor) -> None:
    assert mask.dtype == torch.bool
    assert mask.int().argmax(1).tolist() == [t % 3 for t in state[:, 1].int().tolist()]
    assert mask.sum(1).tolist() == [1, 1, 1]


def test_mask_key_leaves_the_observation_space(toy: Make) -> None:
    env = toy("MaskInObservation")
    assert isinstance(env.observation_space, spaces.Dict)
    assert list(env.observation_space) == ["state"]


def test_taxi_has_a_mask_and_cartpole_none(make: Make) -> None:
    assert make("Taxi-v4").has_action_mask
    assert not make("CartPole-v1").has_action_mask
