"""Environments small enough to know every number of; registered under ids `toy_environments:Name-v0`."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FrameStackObservation, TimeLimit, TransformObservation


class Counter(gymnasium.Env[Any, Any]):
    """Observes (episode, t); episodes last 3, 4 or 5 steps and end in turn terminated and truncated."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}
    observation_space = spaces.Box(-1.0, 1e6, (2,), np.float32)
    action_space = spaces.Discrete(3, start=5)

    def __init__(self, offset: int = 0, render_mode: str | None = None) -> None:
        self.offset, self.episode, self.t = offset, -1, 0
        self.render_mode = render_mode
        self.actions: list[Any] = []

    def observe(self) -> Any:
        return np.array([self.episode, self.t], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(action)
        self.t += 1
        ended = self.t >= 3 + (self.episode + self.offset) % 3
        return self.observe(), float(self.t), ended and self.episode % 2 == 0, ended and self.episode % 2 == 1, {}

    def render(self) -> Any:
        return np.full((4, 4, 3), self.t, np.uint8)


class Rich(Counter):
    """Tuple and Dict observations with every plain space, and a composite action; all of it follows from the seed."""

    observation_space = spaces.Tuple(
        (
            spaces.Discrete(9, start=2),
            spaces.Dict(
                {
                    "image": spaces.Box(0, 255, (2, 2, 1), np.uint8),
                    "double": spaces.Box(-np.inf, np.inf, (3,), np.float64),
                    "multi": spaces.MultiDiscrete([3, 4], start=[1, 2]),
                    "bits": spaces.MultiBinary(4),
                }
            ),
        )
    )
    action_space = spaces.Dict(
        {"move": spaces.Box(-1.0, 1.0, (2,), np.float32), "push": spaces.Discrete(3), "keys": spaces.MultiBinary(2)}
    )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        gymnasium.Env.reset(self, seed=seed)
        self.episode, self.t = int(self.np_random.integers(6)), 0
        return self.observe(), {}

    def observe(self) -> Any:
        draw = self.np_random
        parts = {
            "image": draw.integers(0, 256, (2, 2, 1)).astype(np.uint8),
            "double": draw.standard_normal(3),
            "multi": np.array([1, 2]) + draw.integers(0, [3, 4]),
            "bits": draw.integers(0, 2, 4).astype(np.int8),
        }
        return int(2 + draw.integers(0, 9)), parts


class MaskInInfo(Counter):
    """Allows one action, t modulo 3."""

    def _info(self) -> dict[str, Any]:
        return {"action_mask": np.arange(3) == self.t % 3}

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        return super().reset(**arguments)[0], self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return (*super().step(action)[:4], self._info())


class MaskInObservation(Counter):
    observation_space = spaces.Dict({"state": Counter.observation_space, "action_mask": spaces.MultiBinary(3)})

    def observe(self) -> Any:
        return {"state": super().observe(), "action_mask": (np.arange(3) == self.t % 3).astype(np.int8)}


class Raises(Counter):
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.t == 2:
            raise ZeroDivisionError("the wheel came off")
        return super().step(action)


class NotANumber(Counter):
    def observe(self) -> Any:
        return np.array([self.episode, np.nan if self.t == 2 else self.t], np.float32)


class WrongShape(Counter):
    def observe(self) -> Any:
        return np.zeros(3, np.float32)


class WrongLater(Counter):
    """Answers its first reset right and its steps wrong."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, np.array([reward]), terminated, truncated, info


class Unseeded(Counter):
    """Its observations do not follow from its seed."""

    def observe(self) -> Any:
        return np.random.default_rng().random(2).astype(np.float32)


class Dies(Counter):
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class Hangs(Counter):
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(60)
        return super().step(action)


class Slow(Counter):
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(0.004)
        return super().step(action)


def synchronous(mode: AutoresetMode, env: type[Counter], num_envs: int) -> SyncVectorEnv[Any, Any]:
    return SyncVectorEnv([lambda n=n: env(offset=n) for n in range(num_envs)], autoreset_mode=mode)


def next_step(num_envs: int, **_: Any) -> SyncVectorEnv[Any, Any]:
    return synchronous(AutoresetMode.NEXT_STEP, Counter, num_envs)


def same_step(num_envs: int, **_: Any) -> SyncVectorEnv[Any, Any]:
    return synchronous(AutoresetMode.SAME_STEP, Counter, num_envs)


def disabled(num_envs: int, **_: Any) -> SyncVectorEnv[Any, Any]:
    return synchronous(AutoresetMode.DISABLED, Counter, num_envs)


def same_step_rich(num_envs: int, **_: Any) -> SyncVectorEnv[Any, Any]:
    return synchronous(AutoresetMode.SAME_STEP, Rich, num_envs)


def same_step_masked(num_envs: int, **_: Any) -> SyncVectorEnv[Any, Any]:
    return synchronous(AutoresetMode.SAME_STEP, MaskInInfo, num_envs)


class Picture(Counter):
    """Observes a picture of one colour."""

    observation_space = spaces.Box(0, 255, (10, 12, 3), np.uint8)

    def observe(self) -> Any:
        return np.broadcast_to(np.array([200, 100, 50], np.uint8), (10, 12, 3)).copy()


class PictureAndVector(Picture):
    """Observes a picture and where in the episode it is."""

    observation_space = spaces.Dict(
        {"picture": Picture.observation_space, "vector": spaces.Box(-1.0, 1e6, (2,), np.float32)}
    )

    def observe(self) -> Any:
        return {"picture": super().observe(), "vector": np.array([self.episode, self.t], np.float32)}


class FlatReward(SyncVectorEnv[Any, Any]):
    def step(self, actions: Any) -> Any:
        observation, reward, *rest = super().step(actions)
        return (observation, reward[:, None], *rest)


def flat_reward(num_envs: int, **_: Any) -> FlatReward:
    return FlatReward([Counter] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


def silent(num_envs: int, **_: Any) -> SyncVectorEnv[Any, Any]:
    made = same_step(num_envs)
    made.metadata = {}
    return made


class Talkative(Counter):
    """Has words for what happens, no pictures."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"]}


class Invisible(Counter):
    """Cannot draw on this machine."""

    def render(self) -> Any:
        raise OSError("no GL")


BROKEN = (Raises, NotANumber, WrongShape, WrongLater, Unseeded, Dies, Hangs, Slow)
for environment in (
    Counter,
    Rich,
    MaskInInfo,
    MaskInObservation,
    Picture,
    PictureAndVector,
    Talkative,
    Invisible,
    *BROKEN,
):
    gymnasium.register(f"{environment.__name__}-v0", environment)
for name, maker in {
    "NextStep": next_step,
    "SameStep": same_step,
    "Disabled": disabled,
    "SameStepRich": same_step_rich,
    "SameStepMasked": same_step_masked,
    "Silent": silent,
    "FlatReward": flat_reward,
}.items():
    gymnasium.register(f"{name}-v0", Counter, vector_entry_point=maker)


def _stacked(padding_type: str = "zero", limit: bool = False, shift: float = 0.0) -> gymnasium.Env[Any, Any]:
    """Return a Counter whose last three observations are stacked, with another wrapper around it or without."""
    env: gymnasium.Env[Any, Any] = FrameStackObservation(Counter(), 3, padding_type=padding_type)
    env = TimeLimit(env, 2) if limit else env
    return TransformObservation(env, lambda stack: stack + shift, env.observation_space) if shift else env


gymnasium.register("Stacked-v0", _stacked)
