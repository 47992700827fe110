"""Environments that do what environments do at their worst; ids `fault_environments:Faulty-v0` and its vector form."""

from __future__ import annotations

import ctypes
import itertools
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

HORIZON = 20
CHOICES = 5
GUILTY = 1
"""Number of the environment that does it."""

_instances = itertools.count()


def space_of(fault: str) -> spaces.Space[Any]:
    """Return the observation space: of whole numbers where the fault is to leave them."""
    return spaces.Discrete(CHOICES) if fault == "out_of_bounds" else spaces.Box(-9.0, 9.0, (3,), np.float32)


def do(fault: str, folder: str) -> None:
    """Die, raise or hang; `folder` gets a file with the time."""
    Path(folder, "began").write_text(repr(time.time()))
    if fault == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "sigsegv":
        ctypes.string_at(0)
    elif fault == "os_exit":
        os._exit(7)
    elif fault.startswith("raises"):
        raise ZeroDivisionError("the wheel came off")
    elif fault == "hangs_with_the_lock":
        ctypes.PyDLL(None).sleep(600)
    elif fault.startswith("hangs"):
        time.sleep(600)


def spoiled(fault: str, answer: list[Any], row: Any = ...) -> Any:
    """Return the answer of a step, (observation, reward, terminated, truncated, info), with the fault in it."""
    observation = answer[0]
    if fault in ("nan_observation", "infinite_observation"):
        observation[row] = np.nan if fault == "nan_observation" else np.inf
    elif fault == "nan_reward":
        answer[1] = np.where(np.arange(len(answer[1])) == row, np.nan, answer[1]) if row is not ... else float("nan")
    elif fault == "wrong_shape":
        answer[0] = np.concatenate([observation, observation])
    elif fault == "narrow_shape":
        answer[0] = observation[..., :1]
    elif fault == "wrong_dtype":
        answer[0] = observation.astype(str)
    elif fault == "wrong_type":
        answer[0] = None
    elif fault == "reward_is_text":
        answer[1] = "much" if row is ... else np.array(["much"] * len(answer[1]))
    elif fault == "flag_is_number":
        answer[2] = 0.0 if row is ... else np.zeros(len(answer[1]))
    elif fault == "out_of_bounds" and row is ...:
        answer[0] = CHOICES + 2
    elif fault == "out_of_bounds":
        observation[row] = CHOICES + 2
    elif fault == "too_many_values":
        answer.append("more")
    elif fault == "info_is_none" and row is not ...:
        answer[4] = None
    return tuple(answer)


class Faulty(gymnasium.Env[Any, Any]):
    """Does `fault` in step `at` of environment GUILTY, once where `folder` is given and has no file `began` yet."""

    def __init__(self, fault: str, at: int, folder: str, once: bool = False) -> None:
        self.fault, self.at, self.folder, self.once = fault, at, folder, once
        self.observation_space, self.action_space = space_of(fault), spaces.Discrete(2)
        name, number = multiprocessing.current_process().name, next(_instances)
        self.guilty = number == GUILTY and name in ("MainProcess", "rl2-worker-0")
        self.steps = self.t = 0

    def due(self, where: str) -> bool:
        """Return whether it is time."""
        in_reset = self.fault.endswith("in_reset")
        return (
            self.guilty
            and in_reset == (where == "reset")
            and self.steps >= self.at
            and not (self.once and Path(self.folder, "began").exists())
        )

    def observe(self) -> Any:
        return self.t % CHOICES if self.fault == "out_of_bounds" else np.full(3, self.t / HORIZON, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if self.due("reset"):
            do(self.fault, self.folder)
        self.t = 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        self.steps, self.t = self.steps + 1, self.t + 1
        answer = [self.observe(), 1.0, False, self.t >= HORIZON, {}]
        if not self.due("step"):
            return tuple(answer)
        do(self.fault, self.folder)
        return spoiled(self.fault, answer)


class FaultyVector(VectorEnv[Any, Any, Any]):
    """Its vector form, whose rows run in step."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012  # as Gymnasium has it

    def __init__(self, num_envs: int, fault: str, at: int, folder: str, once: bool = False, **_: Any) -> None:
        self.num_envs, self.fault, self.at, self.folder = num_envs, fault, at, folder
        self.single_observation_space, self.single_action_space = space_of(fault), spaces.Discrete(2)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self.guilty = next(_instances) == 0
        self.steps = self.t = 0
        self.unknown = object()  # so that nobody tries whether its state can be saved

    def observe(self) -> Any:
        if self.fault == "out_of_bounds":
            return np.full(self.num_envs, self.t % CHOICES)
        return np.full((self.num_envs, 3), self.t / HORIZON, np.float32)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.t = 0
        return self.observe(), {}

    def step(self, actions: Any) -> Any:
        self.steps, self.t = self.steps + 1, self.t + 1
        ended, info = self.t >= HORIZON, {}
        if ended:
            info, self.t = {"final_obs": self.observe()}, 0
            due = self.guilty and self.fault.endswith("in_reset") and self.steps >= self.at
        else:
            due = self.guilty and not self.fault.endswith("in_reset") and self.steps >= self.at
        flags = np.zeros(self.num_envs, np.bool_)
        answer = [self.observe(), np.ones(self.num_envs), flags, flags | ended, info]
        if not due:
            return tuple(answer)
        do(self.fault, self.folder)
        return spoiled(self.fault, answer, GUILTY)


gymnasium.register("Faulty-v0", Faulty, vector_entry_point=FaultyVector)
