"""Preallocated storage of one rollout, on the device that learns from it."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces

from rl2cli.envs.base import Step
from rl2cli.errors import NonFiniteError
from rl2cli.keys import (
    ACTION_MASK,
    DONE,
    FINAL_INDEX,
    FINAL_OBSERVATION,
    IS_INIT,
    OBSERVATION,
    REWARD,
    TERMINATED,
    TRUNCATED,
    VALID,
    Observation,
    Trajectories,
    map_observation,
)
from rl2cli.spaces import allocate


class Rollout:
    """T steps of N environments, overwritten by each rollout.

    What `act` returns is allocated when it is first seen; see `rl2cli.keys` for the shapes.
    """

    def __init__(self, length: int, num_envs: int, observation_space: spaces.Space[Any], device: torch.device) -> None:
        self.length = length
        self.device = device
        self.observation = allocate(observation_space, (length + 1, num_envs), device)
        flags = torch.zeros(5, length, num_envs, dtype=torch.bool, device=device)
        self.terminated, self.truncated, self.done, self.valid, self.is_init = flags.unbind(0)  # each [T, N]
        self.reward = torch.zeros(length, num_envs, device=device)
        self.next_is_init = torch.ones(num_envs, dtype=torch.bool, device=device)
        self.chosen: dict[str, torch.Tensor] = {}
        self.action_mask: torch.Tensor | None = None
        self._finals: list[tuple[int, Observation]] = []
        self._rows = [_rows(self.observation, t) for t in range(length + 1)]
        self._reward_rows = self.reward.unbind(0)
        self._flag_rows = list(zip(self.terminated.unbind(0), self.truncated.unbind(0), strict=True))
        self._chosen_rows: dict[str, tuple[torch.Tensor, ...]] = {}

    def begin(self, observation: Observation, action_mask: torch.Tensor | None) -> None:
        """Start a rollout at `observation` [N, *obs]."""
        _copy(self._rows[0], observation)
        self.valid.fill_(True)
        self._finals.clear()
        if action_mask is not None:
            if self.action_mask is None:
                shape = (self.length + 1, *action_mask.shape)
                self.action_mask = torch.ones(shape, dtype=torch.bool, device=self.device)
            self.action_mask[0].copy_(action_mask)

    def at(self, t: int) -> tuple[Observation, torch.Tensor | None]:
        """Return the observation [N, *obs] and action mask at step `t`."""
        return self._rows[t], None if self.action_mask is None else self.action_mask[t]

    def store(self, t: int, chosen: dict[str, torch.Tensor], step: Step) -> None:
        """Keep step `t`: what `act` returned and what the environments answered."""
        for key, value in chosen.items():
            if key not in self._chosen_rows:
                self._allocate_chosen(key, value)
            self._chosen_rows[key][t].copy_(value)
        _copy(self._rows[t + 1], step.observation)
        self._reward_rows[t].copy_(step.reward)
        terminated, truncated = self._flag_rows[t]
        terminated.copy_(step.terminated)
        truncated.copy_(step.truncated)
        if step.final_observation is not None:
            self._finals.append((t, map_observation(torch.clone, step.final_observation)))
        if step.valid is not None:
            self.valid[t].copy_(step.valid)
        if self.action_mask is not None:
            self.action_mask[t + 1].copy_(step.info[ACTION_MASK])

    def finish(self) -> Trajectories:
        """Return the finished rollout; its tensors are overwritten by the next."""
        torch.logical_or(self.terminated, self.truncated, out=self.done)
        starts = self.done | ~self.valid  # the row after an end, or after a row that only reset
        self.is_init[0] = self.next_is_init
        self.is_init[1:] = starts[:-1]
        self.is_init &= self.valid
        self.next_is_init = starts[-1].clone()
        self.final_index = final_index = self.done.nonzero()  # [K, 2]
        self.final_observation = self._final_observation(final_index)
        trajectories = {
            OBSERVATION: self.observation,
            **self.chosen,
            REWARD: self.reward.unsqueeze(-1),
            TERMINATED: self.terminated.unsqueeze(-1),
            TRUNCATED: self.truncated.unsqueeze(-1),
            DONE: self.done.unsqueeze(-1),
            VALID: self.valid.unsqueeze(-1),
            IS_INIT: self.is_init.unsqueeze(-1),
            FINAL_OBSERVATION: self.final_observation,
            FINAL_INDEX: final_index,
        }
        if self.action_mask is not None:
            trajectories[ACTION_MASK] = self.action_mask
        return trajectories

    def check_finite(self) -> None:
        """Check that every reward and observation of the finished rollout is a number.

        Raises:
            NonFiniteError: Names the tensor, the environment and the step of the rollout.
        """
        _check("reward", self.reward)
        map_observation(lambda tensor: _check("observation", tensor), self.observation)
        map_observation(self._check_final, self.final_observation)

    def _check_final(self, tensor: torch.Tensor) -> None:
        """Raise where `tensor` [K, ...] holds NaN or infinity."""
        if tensor.is_floating_point() and not tensor.isfinite().all():
            t, n = self.final_index[(~tensor.isfinite()).nonzero()[0, 0]].tolist()
            raise _not_finite("last observation of an episode", t, n)

    def _final_observation(self, final_index: torch.Tensor) -> Observation:
        if not self._finals:
            return map_observation(lambda tensor: tensor[:0, 0], self.observation)
        times = torch.tensor([t for t, _ in self._finals], device=self.device)
        position = torch.searchsorted(times, final_index[:, 0].contiguous())

        def gather(*steps: torch.Tensor) -> torch.Tensor:
            return torch.stack(steps).to(self.device)[position, final_index[:, 1]]

        return map_observation(gather, *(final for _, final in self._finals))

    def _allocate_chosen(self, key: str, value: torch.Tensor) -> None:
        storage = torch.zeros(self.length, *value.shape, dtype=value.dtype, device=self.device)
        self.chosen[key] = storage
        self._chosen_rows[key] = storage.unbind(0)


def _rows(observation: Observation, t: int) -> Observation:
    return map_observation(lambda tensor: tensor[t], observation)


def _copy(into: Observation, source: Observation) -> None:
    if isinstance(into, dict):
        for key, part in into.items():
            _copy(part, source[key])  # type: ignore[index]  # both have the same structure
    else:
        into.copy_(source, non_blocking=True)  # type: ignore[arg-type]


def _check(name: str, tensor: torch.Tensor) -> None:
    """Raise where `tensor` [T, N, ...] holds NaN or infinity."""
    if not tensor.is_floating_point() or tensor.isfinite().all():
        return
    t, n = (~tensor.isfinite()).nonzero()[0, :2].tolist()
    raise _not_finite(name, max(t - 1, 0) if name == "observation" else t, n)


def _not_finite(name: str, step: int, n: int) -> NonFiniteError:
    return NonFiniteError(
        f"environment {n} returned a {name} that is not finite, at step {step} of the rollout",
        hint="check the environment's arithmetic; the last checkpoint is good",
    )
