from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from makes import Make
from walk import walk

from rl2cli.envs import make_env_adapter
from rl2cli.envs.checker import check_adapter
from rl2cli.envs.gymnasium_vector import GymnasiumVectorAdapter
from rl2cli.envs.in_process import InProcessBatch
from rl2cli.errors import EnvironmentFault, MissingDependencyError, UsageError


def test_native_form_is_chosen_where_there_is_one(make: Make) -> None:
    assert isinstance(make("CartPole-v1"), GymnasiumVectorAdapter)
    assert isinstance(make("CartPole-v1", vectorization="single"), InProcessBatch)
    assert isinstance(make("CartPole-v1", frame_stack=2), InProcessBatch)
    assert isinstance(make("Pendulum-v1"), InProcessBatch)


@pytest.mark.parametrize(
    ("table", "message", "hint"),
    [
        ({"id": "LunarLander-v2"}, "deprecated", "LunarLander-v3"),
        ({"id": "CartPole-v7"}, "v7.*doesn't exist", "CartPole-v1"),
        ({"id": "CartPol-v1"}, "CartPol.*doesn't exist", "CartPole-v1"),
        ({"id": "a b"}, "Malformed", "module:id"),
        ({"id": "os:CartPole-v1"}, "import the module 'os', which is not allowed", "--allow-import os"),
        ({"id": "CartPole-v1", "kwargs": {"gravty": 1}}, "takes no keyword argument 'gravty'", "sutton_barto_reward"),
        ({"id": "LunarLander-v3", "kwargs": {"gravty": 1}}, "takes no keyword argument 'gravty'", "mean 'gravity'?"),
        ({"id": "LunarLander-v3", "kwargs": {"gravity": 5.0}}, "gravity = 5.0.*between -12 and 0", "change or leave"),
        ({"id": "CartPole-v1", "kwargs": {"num_envs": 3}}, "'num_envs' cannot be among", "under \\[env\\]"),
        ({"id": "Pendulum-v1", "vectorization": "native"}, "no vector form", 'vectorization = "auto"'),
        ({"idd": "x"}, "id: Field required; idd: Extra inputs", "rl2 explain env.KEY"),
        ({"id": "x", "backend": "gymnasum"}, "unknown adapter 'gymnasum'", "gymnasium"),
        ({"id": "toy_environments:Silent-v0"}, "does not say how it resets", 'vectorization = "single"'),
    ],
)
def test_bad_input_is_explained(table: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make_env_adapter(table, num_envs=2, workers=0)
    assert caught.value.hint is not None
    assert hint.replace("\\", "") in caught.value.hint


@pytest.mark.skipif(importlib.util.find_spec("mujoco") is not None, reason="mujoco is installed")
def test_missing_mujoco_is_a_pip_line() -> None:
    with pytest.raises(MissingDependencyError, match="Ant-v5 needs 'mujoco'") as caught:
        make_env_adapter({"id": "Ant-v5", "num_envs": 1}, workers=0)
    assert caught.value.hint == 'pip install "rl2cli[mujoco]"'


@pytest.mark.parametrize("options", [{}, {"vectorization": "single"}])
def test_time_limit_truncates(make: Make, options: dict[str, str]) -> None:
    env = make("CartPole-v1", max_episode_steps=4, **options)
    env.reset(np.arange(3))
    steps = list(walk(env, 4))
    assert steps[3].truncated.tolist() == [True] * 3
    assert not any(step.truncated.any() for step in steps[:3])


def test_frame_stack_keeps_the_newest_observations(make: Make) -> None:
    env = make("Pendulum-v1", frame_stack=3)
    first, _ = env.reset(np.arange(3))
    first = first.clone()
    step = next(walk(env, 1))
    assert env.observation_space.shape == (3, 3)
    assert torch.equal(step.observation[:, :2], first[:, 1:])
    assert env.frame_stack == 3


@pytest.mark.parametrize(
    ("kwargs", "frame_stack"),
    [({}, 3), ({"padding_type": "reset"}, 3), ({"limit": True}, 3), ({"shift": 1.0}, 1)],  # 1: another wrapper is last
)
def test_an_environment_that_stacks_frames_by_itself_is_known(
    toy: Make, kwargs: dict[str, Any], frame_stack: int
) -> None:
    env = toy("Stacked", kwargs=kwargs)
    assert env.observation_space.shape == (3, 2)
    assert env.frame_stack == frame_stack
    assert [finding for finding in check_adapter(env, steps=20) if finding.what == "frame_stack"] == []


def test_stacks_that_are_no_plain_box_are_not_known(toy: Make, make: Make) -> None:
    assert toy("Rich", frame_stack=2).frame_stack == 1
    assert make("Taxi-v4", frame_stack=2).frame_stack == 1
    assert make("Pendulum-v1").frame_stack == 1


def test_actions_reach_the_environment_in_its_own_terms(toy: Make) -> None:
    env = toy("Counter")
    env.reset(np.arange(3))
    env.step(torch.tensor([0, 1, 2]))
    assert [each.env.unwrapped.actions for each in env._envs] == [[5], [6], [7]]


@pytest.mark.slow
def test_first_environment_is_drawn(make: Make) -> None:
    for workers in (0, 1):
        env = make_env_adapter(
            {"id": "toy_environments:Counter-v0", "num_envs": 2}, render_mode="rgb_array", workers=workers
        )
        env.reset(np.arange(2))
        next(walk(env, 1))
        assert env.render().tolist() == np.full((4, 4, 3), 1).tolist()
        env.close()
    native = make_env_adapter({"id": "CartPole-v1", "num_envs": 2}, render_mode="rgb_array")
    native.reset(np.arange(2))
    assert native.render().shape == (400, 600, 3)
    native.close()


def test_native_form_cannot_reset_some_rows(make: Make) -> None:
    env = make("CartPole-v1")
    with pytest.raises(UsageError, match="cannot reset single environments"):
        env.reset(np.arange(3), np.array([True, False, True]))


def test_native_exception_is_a_fault(make: Make) -> None:
    env = make("CartPole-v1")
    env.reset(np.arange(3))
    with pytest.raises(EnvironmentFault, match=r"CartPole-v1 .* raised ValueError in step"):
        env.step(torch.zeros(2, dtype=torch.int64))
