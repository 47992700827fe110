"""Made-up environments for the replay buffer, and what it should hold of them, as plain Python lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.algorithms.base import Task
from rl2cli.keys import Trajectories

NUM_ACTIONS = 3


@dataclass
class Transition:
    """One frame as it was, and the row that it should have."""

    observation: list[int]
    action: int
    reward: float
    mask: list[bool]
    row: int
    next_observation: list[int] = field(default_factory=list)
    next_mask: list[bool] = field(default_factory=list)
    terminated: bool = False
    ends: bool = False
    """The next frame does not go on from it."""


def make_task(
    num_envs: int,
    observation_space: spaces.Space[Any],
    stack: int = 1,
    has_action_mask: bool = False,
    action_space: spaces.Space[Any] | None = None,
) -> Task:
    def unused(*_: Any) -> Any:
        raise AssertionError

    return Task(
        observation_space=observation_space,
        action_space=action_space or spaces.Discrete(NUM_ACTIONS),
        num_envs=num_envs,
        total_frames=1000,
        device=torch.device("cpu"),
        make_network=unused,
        make_critic_network=unused,
        make_generator=unused,
        has_action_mask=has_action_mask,
        frame_stack=stack,
    )


class World:
    """N environments whose frames are numbers that never repeat; what may happen in them does, at random.

    `next_step` makes it reset in a step of its own, which is no frame. It writes down all transitions, and counts the
    rows that they take in `length` rows per environment.
    """

    def __init__(self, seed: int, num_envs: int, stack: int, length: int, next_step: bool = False) -> None:
        self.random = np.random.default_rng(seed)
        self.num_envs, self.stack, self.length, self.next_step = num_envs, stack, length, next_step
        self.number = 0
        self.history: list[list[Transition]] = [[] for _ in range(num_envs)]
        self.written = [0] * num_envs
        self.observation = [self._first() for _ in range(num_envs)]
        self.mask = [self._mask() for _ in range(num_envs)]
        self.is_init = [True] * num_envs
        self.is_resetting = [False] * num_envs
        self.ending, self.breaking = 0.15, 0.05

    def _frame(self) -> int:
        self.number += 1
        return self.number

    def _first(self) -> list[int]:
        return [self._frame()] * self.stack

    def _next(self, observation: list[int]) -> list[int]:
        if self.stack > 1 and self.random.random() < self.breaking:
            return [self._frame() for _ in range(self.stack)]
        return [*observation[1:], self._frame()]

    def _mask(self) -> list[bool]:
        mask: list[bool] = (self.random.random(NUM_ACTIONS) < 0.7).tolist()
        return mask

    def _prefix(self, before: list[int], after: list[int]) -> int:
        """Return the rows that go before `after` because it is not `before` moved up."""
        return self.stack - 1 if before[1:] != after[:-1] else 0

    def break_off(self) -> None:
        """Reset all environments as after a failed restore."""
        for n in range(self.num_envs):
            if self.history[n] and not self.is_init[n] and not self.is_resetting[n]:
                self.history[n][-1].ends = True
                self.written[n] += 1
            self.observation[n], self.mask[n] = self._first(), self._mask()
            self.is_init[n], self.is_resetting[n] = True, False

    def rollout(self, length: int) -> Trajectories:
        shape = (length, self.num_envs, 1)
        flags = {key: torch.zeros(shape, dtype=torch.bool) for key in ("terminated", "truncated", "valid", "is_init")}
        rows: dict[str, Any] = {"observation": [self._shown()], "action_mask": [[list(mask) for mask in self.mask]]}
        actions, rewards = torch.zeros(shape[:2], dtype=torch.int64), torch.zeros(shape)
        finals, final_index = [], []
        for t in range(length):
            for n in range(self.num_envs):
                flags["is_init"][t, n] = self.is_init[n] and not self.is_resetting[n]
                if self.is_resetting[n]:
                    self._restart(n)
                    continue
                transition = self._step(n)
                flags["valid"][t, n] = True
                actions[t, n], rewards[t, n] = transition.action, transition.reward
                flags["terminated"][t, n] = transition.terminated
                if transition.terminated or transition.ends:
                    flags["truncated"][t, n] = not transition.terminated
                    finals.append(transition.next_observation)
                    final_index.append([t, n])
                    self._end(n)
                else:
                    self.is_init[n] = False
            rows["observation"].append(self._shown())
            rows["action_mask"].append([list(mask) for mask in self.mask])
        return {
            "observation": self._tensor(rows["observation"], (length + 1, self.num_envs)),
            "action_mask": torch.tensor(rows["action_mask"]),
            "action": actions,
            "reward": rewards,
            "final_observation": self._tensor(finals, (len(finals),)),
            "final_index": torch.tensor(final_index, dtype=torch.int64).reshape(-1, 2),
            "done": flags["terminated"] | flags["truncated"],
            **flags,
        }

    def _shown(self) -> list[list[int]]:
        return [list(observation) for observation in self.observation]

    def _tensor(self, values: list[Any], leading: tuple[int, ...]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32).reshape(*leading, self.stack)

    def _step(self, n: int) -> Transition:
        observation = self.observation[n]
        if self.is_init[n]:
            self.written[n] += self.stack - 1
        transition = Transition(
            observation,
            action=int(self.random.integers(NUM_ACTIONS)),
            reward=float(self.random.integers(-9, 9)),
            mask=self.mask[n],
            row=self.written[n],
        )
        self.history[n].append(transition)
        transition.next_observation = self._next(observation)
        prefix = self._prefix(observation, transition.next_observation)
        self.written[n] += 1 + prefix
        transition.ends = self.random.random() < self.ending
        transition.terminated = transition.ends and self.random.random() < 0.5
        self.mask[n] = self._mask()
        transition.next_mask = [True] * NUM_ACTIONS if transition.ends else self.mask[n]
        self.observation[n] = transition.next_observation
        return transition

    def _end(self, n: int) -> None:
        self.written[n] += 1
        self.is_init[n] = True
        if self.next_step:
            self.is_resetting[n] = True
        else:
            self.observation[n] = self._first()

    def _restart(self, n: int) -> None:
        self.is_resetting[n] = False
        self.observation[n], self.mask[n] = self._first(), self._mask()

    def expected(self) -> dict[int, tuple[int, int]]:
        """Return which rows should be frames: row -> environment and number in its history."""
        found = {}
        for n, history in enumerate(self.history):
            oldest = self.written[n] - self.length + self.stack
            for number, transition in enumerate(history):
                if transition.row >= oldest:
                    found[transition.row % self.length * self.num_envs + n] = (n, number)
        return found

    def target(self, n: int, number: int, n_step: int, gamma: float) -> tuple[float, float, Transition]:
        """Return the reward and discount of up to `n_step` steps, and the last of these."""
        history, reward, discount = self.history[n], 0.0, 1.0
        for transition in history[number : number + n_step]:
            reward += discount * transition.reward
            discount *= 0.0 if transition.terminated else gamma
            last = transition
            if transition.ends or self._prefix(transition.observation, transition.next_observation):
                break
        return reward, discount, last
