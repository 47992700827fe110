"""Environments whose values are known in closed form or that misbehave, under Gymnasium ids without a module."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

HORIZON = 5


class Constant(gymnasium.Env[Any, Any]):
    """Reward 1 in each of HORIZON steps, then the end: a truncation, or a termination where `terminates`.

    Observes the steps taken so far, so a value may depend on them.
    """

    observation_space = spaces.Box(0.0, HORIZON, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, terminates: bool = False, offset: int = 0) -> None:
        self.terminates, self.offset, self.t = terminates, offset, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0 if seed is None else self.offset  # in a vector, the first episodes end at different times
        return np.array([self.t], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        ended = self.t >= HORIZON
        return np.array([self.t], np.float32), 1.0, ended and self.terminates, ended and not self.terminates, {}


class Chain(gymnasium.Env[Any, Any]):
    """Seven states in a row, both ends terminal: 0.5 for the left one, 1 for the right one; starts between them.

    With gamma = 0.9 it is best to go right from everywhere: V(s) = 0.9^(5 - s).
    """

    observation_space = spaces.Discrete(7)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(1, 6))
        return self.state, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state += 1 if action == 1 else -1
        reward = {0: 0.5, 6: 1.0}.get(self.state, 0.0)
        return self.state, reward, self.state in (0, 6), False, {}


class Nested(gymnasium.Env[Any, Any]):
    """A Dict observation with an image; one action of three is allowed, by step; ends after 4 steps."""

    observation_space = spaces.Dict(
        {
            "image": spaces.Box(0, 255, (2, 2), np.uint8),
            "inner": spaces.Dict({"place": spaces.Discrete(9), "speed": spaces.Box(-1.0, 1.0, (2,), np.float32)}),
        }
    )
    action_space = spaces.Discrete(3)

    def _observe(self) -> tuple[Any, dict[str, Any]]:
        observation = {
            "image": np.full((2, 2), self.t, np.uint8),
            "inner": {"place": self.t, "speed": np.full(2, self.t / 10, np.float32)},
        }
        return observation, {"action_mask": np.arange(3) == self.t % 3}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return self._observe()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action == self.t % 3, "a forbidden action was taken"
        self.t += 1
        observation, info = self._observe()
        return observation, 1.0, self.t == 4, False, info


class Breaks(gymnasium.Env[Any, Any]):
    """Gives a NaN, as `what` says, in its 50th step and later ones."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, what: str = "reward") -> None:
        self.what, self.steps = what, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        bad = np.nan if self.steps >= 50 else 0.0
        observation = np.full(2, bad if self.what == "observation" else 0.0, np.float32)
        if self.what == "exception" and self.steps >= 50:
            raise ZeroDivisionError("the wheel came off")
        last = self.what == "final observation" and self.steps == 50
        if last:
            observation[:] = np.nan
        return observation, bad if self.what == "reward" else 0.0, self.steps % 7 == 0 or last, False, {}


class Rewards(gymnasium.Env[Any, Any]):
    """Rewards 100, 200, 300, then the end: return 600 in 3 steps."""

    observation_space = spaces.Box(0.0, 3.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return np.array([self.t], np.float32), 100.0 * self.t, self.t == 3, False, {}


class Target(gymnasium.Env[Any, Any]):
    """One step: reward 3 less the squared distance of the actions from 0.5 + s and -1, s being the observation."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Box(np.array([-1.0, -3.0], np.float32), np.array([2.0, 0.0], np.float32))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1.0, 1.0, 1).astype(np.float32)
        return self.state, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        distance = (action[0] - 0.5 - self.state[0]) ** 2 + (action[1] + 1.0) ** 2
        return self.state, 3.0 - float(distance), True, False, {}


class Regulator(gymnasium.Env[Any, Any]):
    """State s becomes (s + a) / 2, and s² + a² / 5 is paid; cut after 5 steps. A linear-quadratic problem.

    With gamma = 0.9 it is worth -10/9 s², and the best action is -5/9 s (Riccati's equation).
    """

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1.0, 2.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state, self.t = self.np_random.uniform(-1.0, 1.0), 0
        return np.array([self.state], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        cost = self.state**2 + float(action[0]) ** 2 / 5.0
        self.state = (self.state + float(action[0])) / 2.0
        self.t += 1
        return np.array([self.state], np.float32), -cost, False, self.t == 5, {}


def _vector(mode: AutoresetMode) -> Any:
    def make(num_envs: int, terminates: bool = False, **_: Any) -> SyncVectorEnv[Any, Any]:
        return SyncVectorEnv([lambda n=n: Constant(terminates, offset=n) for n in range(num_envs)], autoreset_mode=mode)

    return make


for environment in (Constant, Chain, Nested, Breaks, Rewards, Target, Regulator):
    gymnasium.register(f"MadeUp{environment.__name__}-v0", environment)
for mode in AutoresetMode:
    gymnasium.register(f"MadeUpConstant{mode.name}-v0", Constant, vector_entry_point=_vector(mode))
