from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from makes import Make
from walk import assert_same_steps, random_actions, walk

from rl2cli.envs import make_env_adapter
from rl2cli.envs.gymnasium_adapter import GymnasiumAdapter
from rl2cli.envs.gymnasium_options import GymnasiumOptions
from rl2cli.envs.worker_plan import plan_workers, workers_that_pay
from rl2cli.envs.workers import WorkerBatch
from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.spec.model import EnvSpec


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    assert [child for child in multiprocessing.active_children() if child.name.startswith("rl2-worker")] == []


@pytest.mark.slow
def test_frame_stacks_are_known(toy: Make) -> None:
    assert toy("Stacked", workers=2).frame_stack == 3


def test_same_bits_as_in_process_also_after_a_restore(toy: Make) -> None:
    here, there = toy("Rich"), toy("Rich", workers=2)
    assert there.observation_space == here.observation_space
    for env in (here, there):
        env.reset(np.array([3, 4, 5]))
    assert_same_steps(walk(here, 120), walk(there, 120))
    state, same = there.get_state(), here.get_state()
    assert state is not None
    assert same is not None
    assert all(np.array_equal(state[key], same[key]) for key in same)
    here.set_state(state)
    assert_same_steps(walk(here, 40, seed=1), walk(there, 40, seed=1))
    there.set_state(same)
    there.close()


@pytest.mark.slow
def test_an_exception_comes_with_its_worker_and_traceback(toy: Make) -> None:
    env = toy("Raises", 2, workers=1)
    env.reset(np.arange(2))
    with pytest.raises(EnvironmentFault) as caught:
        list(walk(env, 5))
    assert "worker 0 (environments 0 to 1): environment 0 raised ZeroDivisionError" in caught.value.message
    assert "the wheel came off" in str(caught.value.__cause__)
    with pytest.raises(EnvironmentFault, match="have ended"):
        env.reset(np.arange(2))


def test_a_killed_worker_is_named(toy: Make) -> None:
    env = toy("Dies", 2, workers=1, max_restarts=0)
    env.reset(np.arange(2))
    with pytest.raises(EnvironmentFault, match=r"worker 0 \(environments 0 to 1\) was killed by signal 9"):
        next(walk(env, 1))


@pytest.mark.slow
def test_a_hanging_worker_is_ended() -> None:
    options = GymnasiumOptions(id="toy_environments:Hangs-v0")
    env = WorkerBatch(GymnasiumAdapter, options, num_envs=1, workers=1, time_limit=30.0)
    env.setup()
    env.reset(np.arange(1))
    env._workers[0]._limit = 0.3
    began = time.monotonic()
    with pytest.raises(EnvironmentFault, match=r"worker 0 .* for 0.3 seconds while environment 0 was in step"):
        next(walk(env, 1))
    assert time.monotonic() - began < 10


@pytest.mark.slow
def test_setup_errors_keep_their_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2cli.trust._granted", set())
    table = {"id": "toy_environments:Counter-v0", "num_envs": 1, "vectorization": "single"}
    with pytest.raises(UsageError, match=r"worker 0 .*'toy_environments', which is not allowed"):
        make_env_adapter(table, workers=1)


@pytest.mark.slow
def test_setup_errors_keep_their_hint_and_place() -> None:
    table = {"id": "CartPole-v1", "num_envs": 1, "vectorization": "single", "kwargs": {"sutton": True}}
    with pytest.raises(UsageError, match=r"worker 0 .* takes no keyword argument 'sutton'") as caught:
        make_env_adapter(table, workers=1)
    assert caught.value.place == "env.kwargs.sutton"
    assert "sutton_barto_reward" in (caught.value.hint or "")


def test_workers_are_planned_where_they_pay() -> None:
    def planned(env_id: str, **settings: object) -> int:
        return plan_workers(EnvSpec(options=GymnasiumOptions(id=env_id), **settings))

    assert planned("CartPole-v1") == 0
    assert planned("Pendulum-v1", num_envs=1) == 0
    assert planned("CartPole-v1", workers=3) == 3
    assert workers_that_pay(0.010, most=4) == 4
    assert workers_that_pay(0.0005, most=4) == 0


def test_a_slow_environment_gets_a_worker_per_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2cli.envs.worker_plan.available_cores", lambda: 2)
    slow = GymnasiumOptions(id="toy_environments:Slow-v0")
    assert plan_workers(EnvSpec(num_envs=4, options=slow)) == 2


@pytest.mark.slow
def test_a_worker_that_dies_is_started_anew_so_often(toy: Make) -> None:
    env = toy("Dies", 2, workers=1, max_restarts=1)
    env.reset(np.arange(2))
    step = env.step(torch.full((2,), 0))
    assert step.cut is not None
    assert step.cut.all()
    assert "it is started anew (1 of 1)" in env.incidents[0]
    with pytest.raises(EnvironmentFault, match="after 1 restart of workers"):
        env.step(torch.full((2,), 0))


@pytest.mark.slow
def test_lost_rows_are_cut_and_the_others_go_on(toy: Make) -> None:
    env, whole = toy("Rich", 4, workers=2, max_restarts=1), toy("Rich", 4)
    for each in (env, whole):
        each.reset(np.arange(4))
    actions = random_actions(whole, 5)
    for action in actions[:3]:
        env.step(action), whole.step(action)
    env._workers[1]._process.kill()
    env._workers[1]._process.join()
    assert env.get_state() is None
    step, expected = env.step(actions[3]), whole.step(actions[3])
    assert step.cut is not None
    assert step.valid is not None
    assert step.cut.tolist() == [False, False, True, True]
    assert step.valid.tolist() == [True, True, False, False]
    assert step.reward[2:].tolist() == [0.0, 0.0]
    assert torch.equal(step.observation["1"]["image"][:2], expected.observation["1"]["image"][:2])
    assert len(env.incidents) == 1
    assert env.get_state() is not None
    step, expected = env.step(actions[4]), whole.step(actions[4])
    assert step.cut is None
    assert torch.equal(step.observation["1"]["image"][:2], expected.observation["1"]["image"][:2])
