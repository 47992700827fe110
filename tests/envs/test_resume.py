"""Running episodes go on after a restore exactly as they would have."""

from __future__ import annotations

import json

import numpy as np
import pytest
from makes import Make
from walk import assert_same_steps, walk

from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.errors import EnvironmentFault

CASES = [
    ("CartPole-v1", {}, "state"),
    ("CartPole-v1", {"vectorization": "single"}, "episode_seed"),
    ("LunarLander-v3", {}, "episode_seed"),
    ("BipedalWalker-v3", {}, "episode_seed"),
    ("Pendulum-v1", {}, "episode_seed"),
    ("toy_environments:Rich-v0", {}, "episode_seed"),
]


@pytest.mark.parametrize(("env_id", "options", "resume"), CASES)
def test_goes_on_exactly_in_another_process_s_environments(
    make: Make, env_id: str, options: dict[str, str], resume: str
) -> None:
    env = make(env_id, **options)
    assert env.resume == resume
    env.reset(np.array([7, 8, 9]))
    for _ in walk(env, 130):
        pass
    state = env.get_state()
    assert state is not None
    other = make(env_id, **options)
    other.set_state(state)
    assert_same_steps(walk(env, 60, seed=1), walk(other, 60, seed=1))


def test_native_state_is_arrays_and_json(make: Make) -> None:
    env = make("CartPole-v1")
    env.reset(np.arange(3))
    state = env.get_state()
    assert state is not None
    json.dumps(state["environment"]["values"])
    json.dumps(state["environment"]["generators"])
    assert all(isinstance(array, np.ndarray) for array in state["environment"]["arrays"].values())


def test_native_state_remembers_rows_about_to_reset(make: Make) -> None:
    env, other = make("CartPole-v1", num_envs=8), make("CartPole-v1", num_envs=8)
    env.reset(np.arange(8))
    ended = next(step for step in walk(env, 200) if step.final_observation is not None)
    state = env.get_state()
    assert state is not None
    other.set_state(state)
    step = next(walk(other, 1))
    assert step.valid is not None
    assert (~step.valid).tolist() == (ended.terminated | ended.truncated).tolist()


def test_a_second_restore_and_long_logs(make: Make) -> None:
    env, other = make("Pendulum-v1", num_envs=2), make("Pendulum-v1", num_envs=2)
    env.reset(np.arange(2))
    for _ in walk(env, 1500):
        pass
    for source, target in ((env, other), (other, env)):
        state = source.get_state()
        assert state is not None
        assert state["length"].tolist() == [100, 100]
        target.set_state(state)
    assert_same_steps(walk(env, 30), walk(other, 30))


def test_restoring_what_is_not_deterministic_is_refused(toy: Make) -> None:
    env = toy("Unseeded")
    env.reset(np.arange(3))
    state = env.get_state()
    assert state is not None
    with pytest.raises(EnvironmentFault, match="environment 0 was not restored exactly"):
        env.set_state(state)


def test_other_seeds_are_other_episodes(make: Make) -> None:
    env: BaseEnvAdapter = make("CartPole-v1", vectorization="single")
    first, _ = env.reset(np.array([1, 1, 2]))
    assert first[0].tolist() == first[1].tolist() != first[2].tolist()
