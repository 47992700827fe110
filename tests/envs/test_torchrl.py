"""torchrl's environments as an adapter, and adapters as torchrl's environments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rl2cli import trust
from rl2cli.envs import make_env_adapter
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.checker import check_adapter
from rl2cli.envs.torchrl_env import as_torchrl_env
from rl2cli.envs.torchrl_specs import space_of
from rl2cli.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore")  # torchrl's own, at import and when it wraps Gymnasium


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[BaseEnvAdapter] = []

    def build(**options: Any) -> BaseEnvAdapter:
        made.append(make_env_adapter({"workers": 0, "num_envs": 2, **options}))
        return made[-1]

    yield build
    for adapter in made:
        adapter.close()


@pytest.mark.parametrize(
    ("options", "observation", "action"),
    [
        ({"factory": "GymEnv", "args": ["CartPole-v1"], "repeatable": True}, (4,), spaces.Discrete(2)),
        ({"factory": "GymEnv", "args": ["Pendulum-v1"], "max_episode_steps": 20}, (3,), None),
        ({"factory": "PendulumEnv", "max_episode_steps": 10}, None, None),
    ],
)
def test_environments_of_torchrl_keep_the_contract(make: Any, options: Any, observation: Any, action: Any) -> None:
    adapter = make(backend="torchrl", **options)
    assert observation is None or adapter.observation_space.shape == observation
    assert action is None or adapter.action_space == action
    assert check_adapter(adapter, steps=60) == []


def test_ends_of_the_task_are_told_from_time_limits(make: Any) -> None:
    falling = make(backend="torchrl", factory="GymEnv", args=["CartPole-v1"])
    cut = make(backend="torchrl", factory="GymEnv", args=["CartPole-v1"], max_episode_steps=5)
    for adapter in (falling, cut):
        adapter.reset(np.array([3, 4]))
    terminated = truncated = 0
    for index in range(1, 41):
        step = falling.step(torch.ones(2, dtype=torch.int64))  # always to the right: it falls within 12 steps
        terminated += int(step.terminated.sum())
        assert not step.truncated.any()
        assert step.reward.tolist() == [1.0, 1.0]
        step = cut.step(torch.tensor([index % 2, index % 2]))
        assert not step.terminated.any()
        truncated += int(step.truncated.sum())
        assert bool(step.truncated.all()) == (index % 5 == 0)
    assert terminated >= 6
    assert truncated == 16


def test_a_batch_of_torchrl_is_stepped_as_one(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_granted", {"batched_counter"})
    adapter = make(backend="torchrl", factory="batched_counter:Counter", batch_argument="batch_size", num_envs=3)
    assert type(adapter).__name__ == "TorchRLBatchAdapter"
    assert adapter.action_space == spaces.Discrete(3)
    assert adapter.observation_space["count"].shape == (1,)
    assert check_adapter(adapter, steps=40) == []
    before = torch.random.get_rng_state()
    adapter.reset(np.arange(3))
    seen = []
    for _ in range(4):
        step = adapter.step(torch.ones(3, dtype=torch.int64))
        assert isinstance(step.observation, dict)
        seen.append(step.observation["count"].flatten().tolist())
    assert seen == [[1, 2, 3], [2, 3, 4], [3, 4, 2], [4, 1, 3]]  # rows start at 0, 1 and 2, and end at 5
    assert isinstance(step.final_observation, dict)
    assert step.final_observation["count"].flatten().tolist() == [4, 5, 3]
    assert (step.terminated.tolist(), step.truncated.tolist()) == ([False, True, False], [False] * 3)
    assert step.reward.tolist() == [4.0, 5.0, 3.0]
    observation, _ = adapter.reset(np.arange(3), np.array([True, False, False]))
    assert isinstance(observation, dict)
    assert observation["count"].flatten().tolist() == [0, 1, 3]
    assert torch.equal(before, torch.random.get_rng_state())  # nothing else sees what it draws


def test_a_batch_of_torchrl_is_cut_at_its_time_limit(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_granted", {"batched_counter"})
    factory = {"factory": "batched_counter:Counter", "batch_argument": "batch_size", "max_episode_steps": 3}
    adapter = make(backend="torchrl", **factory)
    adapter.reset(np.arange(2))
    steps = [adapter.step(torch.zeros(2, dtype=torch.int64)) for _ in range(6)]
    assert [step.truncated.all().item() for step in steps] == [False, False, True] * 2
    assert not any(step.terminated.any() for step in steps)
    assert list(adapter.observation_space) == ["count", "inner.noise"]
    with pytest.raises(UsageError, match="refused its arguments"):
        make(backend="torchrl", **{**factory, "batch_argument": "num_envs"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factory": "GymEnvv"}, "torchrl.envs has no 'GymEnvv'"),
        ({"factory": "os:system"}, "would import the module 'os', which is not allowed"),
        ({"factory": "GymEnv", "args": ["CartPole-v1"], "kwargs": {"num_envs": 2}}, "rl2 makes batches itself"),
    ],
)
def test_what_cannot_be_used_is_refused(make: Any, options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", "\\(")):
        make(backend="torchrl", **options)


def test_specs_that_have_no_space() -> None:
    from torchrl.data import NonTensor

    with pytest.raises(UsageError, match="NonTensor"):
        space_of(NonTensor(shape=()))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Taxi-v4", "Blackjack-v1"])
def test_adapters_pass_torchrls_own_check(make: Any, env_id: str) -> None:
    from torchrl.envs.utils import check_env_specs

    env = as_torchrl_env(make(backend="gymnasium", id=env_id, vectorization="single"))
    check_env_specs(env)
    rollout = env.rollout(60, break_when_any_done=False)
    assert rollout.batch_size == (2, 60)
    done = rollout["next", "done"].squeeze(-1)
    if env_id == "CartPole-v1":
        assert done.any()
        after = rollout["next", "observation"][:, :-1]
        following = rollout["observation"][:, 1:]
        assert torch.equal(after[~done[:, :-1]], following[~done[:, :-1]])
        assert (after[done[:, :-1]] != following[done[:, :-1]]).all(-1).all()  # the true last one, then a new episode
    env.close()
