from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from makes import Make

from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.checker import check_adapter, check_first_step
from rl2cli.errors import EnvironmentFault

SHIPPED: list[tuple[str, dict[str, Any]]] = [
    ("CartPole-v1", {}),
    ("CartPole-v1", {"vectorization": "single"}),
    ("Pendulum-v1", {}),
    ("LunarLander-v3", {}),
    ("Acrobot-v1", {}),
    ("Taxi-v4", {}),
    ("Blackjack-v1", {}),
    ("toy_environments:Rich-v0", {}),
]


@pytest.mark.parametrize(("env_id", "options"), SHIPPED)
def test_shipped_adapters_keep_the_contract(make: Make, env_id: str, options: dict[str, Any]) -> None:
    assert check_adapter(make(env_id, num_envs=4, **options), steps=80) == []


def test_randomness_of_its_own_is_found(toy: Make) -> None:
    assert [finding.what for finding in check_adapter(toy("Unseeded"), steps=10)] == ["seeding"]


class Broken(BaseEnvAdapter):
    """Wraps an adapter and breaks one thing."""

    vectorised = True

    def __init__(self, inner: BaseEnvAdapter, what: str) -> None:
        super().__init__(inner.options, num_envs=inner.num_envs)
        self.inner, self.what, self.t = inner, what, 0
        self.observation_space, self.action_space, self.resume = inner.observation_space, inner.action_space, "state"

    def setup(self) -> None: ...

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Any, dict[str, Any]]:
        return self.inner.reset(seed, mask)

    def get_state(self) -> dict[str, Any] | None:
        return None if self.what == "get_state" else self.inner.get_state()

    def set_state(self, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return self.inner.set_state(state) if self.what != "set_state" else self.inner.reset(np.zeros(3, np.int64))

    def step(self, action: torch.Tensor) -> Step:
        step = self.inner.step(action)
        step.observation = step.observation.clone()
        broken = {
            "observation": {"observation": step.observation.double()},
            "bounds": {"observation": torch.full_like(step.observation, 1e9)},
            "reward": {"reward": step.reward.unsqueeze(1)},
            "nan": {"reward": step.reward * torch.nan},
            "terminated": {"terminated": step.terminated.float()},
            "final": {"final_observation": None},
            "valid": {"valid": torch.zeros(3, dtype=torch.bool)},
        }.get(self.what, {})
        for name, value in broken.items():
            setattr(step, name, value)
        return step


@pytest.mark.parametrize(
    ("what", "finding"),
    [
        ("observation", r"observation: expected torch.float32 \[3, 2\], got torch.float64"),
        ("bounds", r"observation: expected values inside Box"),
        ("reward", r"reward: expected torch.float32 \[3\], got torch.float32 \[3, 1\]"),
        ("nan", r"reward: expected finite"),
        ("terminated", r"terminated: expected torch.bool"),
        ("final", r"final_observation: expected the last observations"),
        ("valid", r"valid: expected False only"),
        ("get_state", r"get_state: expected a state"),
        ("set_state", r"set_state: expected the stream"),
    ],
)
def test_each_breach_is_found(make: Make, what: str, finding: str) -> None:
    inner = make("toy_environments:Counter-v0") if what not in {"get_state", "set_state"} else make("Pendulum-v1")
    found = check_adapter(Broken(inner, what), steps=20)
    assert len(found) == 1
    assert re.match(finding, str(found[0])), str(found[0])


def test_frames_that_do_not_move_up_are_found(make: Make) -> None:
    env = make("Pendulum-v1", frame_stack=3)
    assert check_adapter(env, steps=250) == []
    broken = Broken(env, "nothing")
    broken.frame_stack = 3
    assert check_adapter(broken, steps=20) == []
    step = broken.step
    broken.step = lambda action: replace(step(action), observation=step(action).observation.flip(1))  # type: ignore[method-assign]
    (finding,) = check_adapter(broken, steps=20)
    assert str(finding) == "frame_stack: expected older frames that move up by one in a step, got others"
    broken.frame_stack = 4
    (finding,) = check_adapter(broken, steps=20)
    assert str(finding) == "frame_stack: expected observations whose first axis has 4 frames, got [3, 3]"


def test_first_step_is_checked_always(toy: Make) -> None:
    env = toy("Counter")
    observation, _ = env.reset(np.arange(3))
    action = torch.zeros(3, dtype=torch.int64)
    check_first_step(env, observation, env.step(action))
    broken = Broken(env, "reward")
    with pytest.raises(EnvironmentFault, match=r"Broken breaks the adapter contract: reward: expected"):
        check_first_step(broken, observation, broken.step(action))
