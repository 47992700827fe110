"""Trajectories against a step-by-step oracle, for every way in which environments reset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import made_up_parts
import numpy as np
import pytest
import torch
from gymnasium import spaces

from rl2cli.envs import make_env_adapter
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.errors import NonFiniteError
from rl2cli.keys import as_tensordict, map_observation, next_observation
from rl2cli.spaces import sample_actions
from rl2cli.training.rollout import Rollout

LENGTH = 7


def _adapter(env_id: str, num_envs: int = 3, **options: Any) -> BaseEnvAdapter:
    return make_env_adapter({"id": env_id, "num_envs": num_envs, **options}, workers=0)


@pytest.fixture(
    params=[
        "MadeUpConstant-v0",
        "MadeUpConstantNEXT_STEP-v0",
        "MadeUpConstantSAME_STEP-v0",
        "MadeUpConstantDISABLED-v0",
        "MadeUpNested-v0",
        "CartPole-v1",
        "Pendulum-v1",
    ]
)
def env(request: pytest.FixtureRequest) -> Iterator[BaseEnvAdapter]:
    with closing(_adapter(request.param)) as adapter:
        yield adapter


def _allowed(env: BaseEnvAdapter, mask: torch.Tensor | None, generator: np.random.Generator) -> dict[str, torch.Tensor]:
    action = sample_actions(env.action_space, env.num_envs, generator)
    action = action if mask is None else mask.long().argmax(-1)
    return {"action": action, "noted": action.reshape(env.num_envs, -1).float().sum(-1)}


def _copy_of(step: Step) -> dict[str, Any]:
    """Return one step's numbers, which no later step changes."""
    observation = map_observation(torch.clone, step.observation)
    final = None if step.final_observation is None else map_observation(torch.clone, step.final_observation)
    valid = torch.ones_like(step.terminated) if step.valid is None else step.valid.clone()
    flags = {"terminated": step.terminated.clone(), "truncated": step.truncated.clone(), "valid": valid}
    return {"observation": observation, "final": final, "reward": step.reward.clone(), **flags}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return one.dtype == other.dtype and torch.equal(one, other)


def test_trajectories_are_what_the_environments_said(env: BaseEnvAdapter) -> None:
    num_envs, generator = env.num_envs, np.random.default_rng(0)
    rollout = Rollout(LENGTH, num_envs, env.observation_space, torch.device("cpu"))
    observation, info = env.reset(np.arange(num_envs))
    mask = info.get("action_mask")
    begins = torch.ones(num_envs, dtype=torch.bool)
    ends = 0
    for _ in range(3):
        rollout.begin(observation, mask)
        steps, actions, masks, first = [], [], [], map_observation(torch.clone, observation)
        for t in range(LENGTH):
            _, mask = rollout.at(t)
            masks.append(None if mask is None else mask.clone())
            chosen = _allowed(env, mask, generator)
            actions.append(chosen["action"].clone())
            step = env.step(chosen["action"])
            steps.append(_copy_of(step))
            rollout.store(t, chosen, step)
        observation, mask = rollout.at(LENGTH)
        found = rollout.finish()

        def row(key: str, t: int, found: Any = found) -> Any:
            return map_observation(lambda tensor: tensor[t], found[key])

        assert _equal(row("observation", 0), first)
        successors = next_observation(found)
        for t, step in enumerate(steps):
            assert _equal(row("observation", t + 1), step["observation"])
            assert torch.equal(found["action"][t], actions[t])
            assert torch.equal(found["noted"][t], actions[t].reshape(num_envs, -1).float().sum(-1))
            for key in ("reward", "terminated", "truncated", "valid"):
                assert torch.equal(found[key][t].squeeze(-1), step[key])
            done = step["terminated"] | step["truncated"]
            assert torch.equal(found["done"][t].squeeze(-1), done)
            assert torch.equal(found["is_init"][t].squeeze(-1), begins & step["valid"])
            begins = torch.where(step["valid"], done, begins)
            begins |= done
            for n in range(num_envs):
                source = step["final"] if done[n] else step["observation"]
                one = map_observation(lambda tensor, n=n: tensor[n], source)
                assert _equal(map_observation(lambda tensor, t=t, n=n: tensor[t, n], successors), one)
            ends += int(done.sum())
            if masks[t] is not None:
                assert torch.equal(found["action_mask"][t], masks[t])
        assert [tuple(index) for index in found["final_index"].tolist()] == [
            (t, n)
            for t, step in enumerate(steps)
            for n in range(num_envs)
            if (step["terminated"] | step["truncated"])[n]
        ]
    assert ends > 0 or env.observation_space.shape == (3,)  # Pendulum's episodes are longer


def test_keys_shapes_and_dtypes() -> None:
    with closing(_adapter("MadeUpNested-v0", num_envs=2)) as env:
        rollout = Rollout(5, 2, env.observation_space, torch.device("cpu"))
        rollout.begin(*_first(env))
        for t in range(5):
            chosen = {"action": rollout.at(t)[1].long().argmax(-1)}
            rollout.store(t, chosen, env.step(chosen["action"]))
        found = rollout.finish()
    assert found["observation"]["image"].shape == (6, 2, 2, 2)
    assert found["observation"]["image"].dtype == torch.uint8
    assert found["observation"]["inner"]["place"].shape == (6, 2)
    assert found["observation"]["inner"]["place"].dtype == torch.int64
    assert found["observation"]["inner"]["speed"].dtype == torch.float32
    assert found["action"].shape == (5, 2)
    assert found["action_mask"].shape == (6, 2, 3)
    assert found["action_mask"].dtype == torch.bool
    assert found["reward"].shape == (5, 2, 1)
    assert found["reward"].dtype == torch.float32
    for key in ("terminated", "truncated", "done", "valid", "is_init"):
        assert found[key].shape == (5, 2, 1)
        assert found[key].dtype == torch.bool
    assert found["final_index"].tolist() == [[3, 0], [3, 1]]
    assert found["final_observation"]["inner"]["place"].tolist() == [4, 4]
    assert found["final_observation"]["image"].dtype == torch.uint8


def _first(env: BaseEnvAdapter) -> tuple[Any, torch.Tensor | None]:
    observation, info = env.reset(np.arange(env.num_envs))
    return observation, info.get("action_mask")


def test_without_an_end_there_are_no_final_observations() -> None:
    with closing(_adapter("Pendulum-v1")) as env:
        rollout = Rollout(2, 3, env.observation_space, torch.device("cpu"))
        rollout.begin(*_first(env))
        for t in range(2):
            rollout.store(t, {"action": torch.zeros(3, 1)}, env.step(torch.zeros(3, 1)))
        found = rollout.finish()
    assert found["final_index"].shape == (0, 2)
    assert found["final_observation"].shape == (0, 3)


@pytest.mark.parametrize(("name", "where"), [("reward", "reward"), ("observation", "observation")])
def test_a_number_that_is_not_finite_is_found(name: str, where: str) -> None:
    with closing(_adapter("Pendulum-v1")) as env:
        rollout = Rollout(4, 3, env.observation_space, torch.device("cpu"))
        rollout.begin(*_first(env))
        for t in range(4):
            step = env.step(torch.zeros(3, 1))
            if t == 2:
                getattr(step, name)[1] = float("inf")
            rollout.store(t, {"action": torch.zeros(3, 1)}, step)
        rollout.finish()
        with pytest.raises(NonFiniteError, match=f"environment 1 .*{where}.* after 1,006 frames"):
            rollout.check_finite(1000)  # two steps of three environments were good


def test_a_final_observation_that_is_not_finite_is_found() -> None:
    with closing(_adapter("MadeUpConstant-v0", num_envs=2)) as env:
        rollout = Rollout(made_up_parts.HORIZON, 2, env.observation_space, torch.device("cpu"))
        rollout.begin(*_first(env))
        for t in range(made_up_parts.HORIZON):
            step = env.step(torch.zeros(2, dtype=torch.int64))
            if step.final_observation is not None:
                step.final_observation[1] = float("nan")
            rollout.store(t, {"action": torch.zeros(2, dtype=torch.int64)}, step)
        rollout.finish()
        with pytest.raises(NonFiniteError, match=r"environment 1 .*observation.* after 8 frames"):
            rollout.check_finite(0)


def test_a_lost_life_is_terminated_for_learning_and_nothing_else() -> None:
    rollout = Rollout(3, 2, _space(), torch.device("cpu"))
    rollout.begin(torch.zeros(2, 1), None)
    no = torch.zeros(2, dtype=torch.bool)
    for t, lost in enumerate(([0, 0], [0, 1], [1, 0])):
        step = Step(torch.full((2, 1), t + 1.0), torch.ones(2), no, no, life_lost=torch.tensor(lost, dtype=torch.bool))
        rollout.store(t, {"action": torch.zeros(2)}, step)
    trajectories = rollout.finish()
    assert trajectories["terminated"].squeeze(-1).tolist() == [[False, False], [False, True], [True, False]]
    assert not trajectories["done"].any()
    assert len(trajectories["final_index"]) == 0
    assert trajectories["is_init"].sum() == 2  # of the first step
    whole = as_tensordict(trajectories | {"action": torch.zeros(3, 2)})
    assert torch.equal(whole["next", "done"], whole["next", "terminated"])


def _space() -> spaces.Box:
    return spaces.Box(-1.0, 9.0, (1,), np.float32)


def _step(number: float, ended: tuple[bool, bool] = (False, False), cut: tuple[bool, bool] | None = None) -> Step:
    flags = torch.tensor(ended)
    step = Step(torch.full((2, 1), number), torch.ones(2), torch.zeros(2, dtype=torch.bool), flags)
    if any(ended):
        step.final_observation = torch.full((2, 1), number + 0.5)
    if cut is not None:
        step.cut = torch.tensor(cut)
        step.valid = ~step.cut
        step.reward = step.valid.float()
    return step


def test_a_lost_environment_truncates_its_episode_at_the_step_before() -> None:
    rollout = Rollout(4, 2, spaces.Box(-9, 9, (1,), np.float32), torch.device("cpu"))
    rollout.begin(torch.zeros(2, 1), None)
    steps = [_step(1.0), _step(2.0, ended=(True, False)), _step(3.0, cut=(True, True)), _step(4.0)]
    for t, step in enumerate(steps):
        rollout.store(t, {"action": torch.zeros(2, dtype=torch.int64)}, step)
    found = rollout.finish()
    assert found["truncated"].squeeze(-1).tolist() == [[False] * 2, [True, True], [False] * 2, [False] * 2]
    assert found["valid"].squeeze(-1).tolist() == [[True] * 2, [True] * 2, [False] * 2, [True] * 2]
    assert found["final_index"].tolist() == [[1, 0], [1, 1]]
    assert found["final_observation"].tolist() == [[2.5], [2.0]]  # its own end; the last good observation
    assert found["is_init"].squeeze(-1)[3].tolist() == [True, True]
    assert next_observation(found)[1].tolist() == [[2.5], [2.0]]
    assert (rollout.frames, rollout.broken_off) == (6, [])


def test_an_environment_lost_in_the_first_step_broke_its_episode_off_before() -> None:
    rollout = Rollout(1, 2, spaces.Box(-9, 9, (1,), np.float32), torch.device("cpu"))
    rollout.begin(torch.zeros(2, 1), None)
    rollout.store(0, {"action": torch.zeros(2, dtype=torch.int64)}, _step(1.0, cut=(False, True)))
    found = rollout.finish()
    assert rollout.broken_off == [1]
    assert not found["done"].any()
    assert rollout.next_is_init.tolist() == [False, True]
