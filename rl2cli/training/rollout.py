"""Preallocated storage of one rollout, on the device that learns from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.envs.advice import BROKEN
from rl2cli.envs.base import Step
from rl2cli.errors import EnvironmentFault, NonFiniteError
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
from rl2cli.training.finite import ENVIRONMENT_HINT, first_not_finite, is_finite, leaves

_FLAGS = (REWARD, TERMINATED, TRUNCATED, DONE, IS_INIT)
"""Columns [T, N] that every rollout has."""


class Rollout:
    """T steps of N environments, overwritten by each rollout.

    What `act` returns is allocated when it is first seen; see `rl2cli.keys` for the shapes.
    """

    def __init__(self, length: int, num_envs: int, observation_space: spaces.Space[Any], device: torch.device) -> None:
        self.length = length
        self.num_envs = num_envs
        self.device = device
        self.observation = allocate(observation_space, (length + 1, num_envs), device)
        flags = torch.zeros(5, length, num_envs, dtype=torch.bool, device=device)
        self.terminated, self.truncated, self.done, self.valid, self.is_init = flags.unbind(0)  # each [T, N]
        self.valid.fill_(True)
        self.all_valid = True
        """Whether every row of the rollout is a frame."""
        self.reward = torch.zeros(length, num_envs, device=device)
        self.next_is_init = torch.ones(num_envs, dtype=torch.bool, device=device)
        self.chosen: dict[str, torch.Tensor] = {}
        self.action_mask: torch.Tensor | None = None
        self.life_lost: torch.Tensor | None = None
        self.final_index = self._no_index = torch.zeros(0, 2, dtype=torch.int64, device=device)
        self.final_observation = self._no_final = map_observation(lambda tensor: tensor[:0, 0], self.observation)
        self._finals: list[tuple[int, Observation]] = []
        self.broken_off: list[int] = []
        """Environments that were lost in the first step: their episodes ended with the rollout before."""
        self._views = self._fixed_trajectories()
        observations = [("observation", leaf, 1) for leaf in leaves(self.observation) if leaf.is_floating_point()]
        self._checked = [("reward", self.reward, 0), *observations]  # the last number: rows before the first step
        self._rows = [_rows(self.observation, t) for t in range(length + 1)]
        self._is_init_rows = self.is_init.unbind(0)
        self._reward_rows = self.reward.unbind(0)
        self._flag_rows = list(zip(self.terminated.unbind(0), self.truncated.unbind(0), strict=True))
        self._chosen_rows: dict[str, tuple[torch.Tensor, ...]] = {}

    def begin(self, observation: Observation, action_mask: torch.Tensor | None) -> None:
        """Start a rollout at `observation` [N, *obs]."""
        _copy(self._rows[0], observation)
        self._finals.clear()
        self.broken_off = []
        if not self.all_valid:
            self.valid.fill_(True)
            self.all_valid = True
        if action_mask is not None:
            self._allocate_action_mask(action_mask)[0].copy_(action_mask)

    def at(self, t: int) -> tuple[Observation, torch.Tensor | None]:
        """Return the observation [N, *obs] and action mask at step `t`."""
        return self._rows[t], None if self.action_mask is None else self.action_mask[t]

    def store(self, t: int, chosen: dict[str, torch.Tensor], step: Step) -> None:
        """Keep step `t`: what `act` returned and what the environments answered."""
        for key, value in chosen.items():
            if key not in self._chosen_rows:
                self._allocate_chosen(key, value)
            self._chosen_rows[key][t].copy_(value)
        if step.cut is not None:
            self._cut(t, step.cut.to(self.device))
        _copy(self._rows[t + 1], step.observation)
        self._reward_rows[t].copy_(step.reward)
        terminated, truncated = self._flag_rows[t]
        terminated.copy_(step.terminated)
        truncated.copy_(step.truncated)
        if step.final_observation is not None:
            self._finals.append((t, map_observation(torch.clone, step.final_observation)))
        if step.valid is not None:
            self.valid[t].copy_(step.valid)
            self.all_valid = False
        if self.action_mask is not None:
            self.action_mask[t + 1].copy_(step.info[ACTION_MASK])
        if step.life_lost is not None:
            if self.life_lost is None:
                self.life_lost = torch.zeros_like(self.terminated)
            self.life_lost[t].copy_(step.life_lost)

    def _cut(self, t: int, cut: torch.Tensor) -> None:
        """Truncate the episodes of the environments `cut` [N] bool, which were lost in step `t`, at the step before."""
        if t == 0:
            self.broken_off = cut.nonzero().squeeze(1).tolist()
            return
        terminated, truncated = self._flag_rows[t - 1]
        going_on = cut & ~terminated & ~truncated & self.valid[t - 1]
        truncated |= going_on
        if not self._finals or self._finals[-1][0] != t - 1:
            self._finals.append((t - 1, map_observation(torch.clone, self._rows[t])))
            return
        final, last = self._finals[-1][1], self._rows[t]
        for into, source in zip(leaves(final), leaves(last), strict=True):
            into[going_on.to(into.device)] = source[going_on].to(into.device)

    def finish(self) -> Trajectories:
        """Return the finished rollout; its tensors are overwritten by the next.

        Raises:
            EnvironmentFault: An episode ended, and its last observation is missing.
        """
        torch.logical_or(self.terminated, self.truncated, out=self.done)
        if self.all_valid and not _is_any(self.done):  # most of the rollouts of one step: nothing began, nothing ended
            self.is_init.zero_()
            self._is_init_rows[0].copy_(self.next_is_init)
            self.next_is_init.zero_()
            self.final_index, self.final_observation = self._no_index, self._no_final
        else:
            self._find_ends()
        return self._trajectories()

    def columns(self) -> dict[str, Any]:
        """Return what the finished rollout holds, its own tensors, for `gather` of one with more environments."""
        return {
            "observation": self.observation,
            "chosen": dict(self.chosen),
            **{name: getattr(self, name) for name in _FLAGS},
            "valid": None if self.all_valid else self.valid,
            "action_mask": self.action_mask,
            "life_lost": self.life_lost,
            "final_observation": self.final_observation,
            "final_index": self.final_index,
            "broken_off": list(self.broken_off),
        }

    def gather(self, parts: Sequence[dict[str, Any]]) -> Trajectories:
        """Take in the `columns` of rollouts as long as this one, whose environments make up its own in order.

        Returns:
            The finished rollout; its tensors are overwritten by the next.
        """
        self.valid.fill_(True)
        if self.life_lost is not None:
            self.life_lost.zero_()
        self.all_valid, self.broken_off, start = True, [], 0
        for part in parts:
            rows = slice(start, start + part[REWARD].shape[1])
            self._place(part, rows)
            self.broken_off += [start + n for n in part["broken_off"]]
            start = rows.stop
        index = torch.cat([_shifted(part, parts, at) for at, part in enumerate(parts)])  # [K, 2]
        order = torch.argsort(index[:, 0] * self.num_envs + index[:, 1])
        finals = [part["final_observation"] for part in parts]
        self.final_index = index[order].to(self.device)
        self.final_observation = map_observation(lambda *each: torch.cat(each)[order].to(self.device), *finals)
        return self._trajectories()

    def _place(self, part: dict[str, Any], rows: slice) -> None:
        """Copy the columns of the environments `rows`."""
        _copy(map_observation(lambda leaf: leaf[:, rows], self.observation), part["observation"])
        for name in _FLAGS:
            getattr(self, name)[:, rows].copy_(part[name])
        for name, column in part["chosen"].items():
            if name not in self.chosen:
                self._allocate_chosen(name, column[0, :1].expand(self.num_envs, *column.shape[2:]))
            self.chosen[name][:, rows].copy_(column)
        if part["valid"] is not None:
            self.all_valid = False
            self.valid[:, rows].copy_(part["valid"])
        if part["action_mask"] is not None:
            mask = part["action_mask"]
            self._allocate_action_mask(mask[0, :1].expand(self.num_envs, -1))[:, rows].copy_(mask)
        if part["life_lost"] is not None:
            if self.life_lost is None:
                self.life_lost = torch.zeros_like(self.terminated)
            self.life_lost[:, rows].copy_(part["life_lost"])

    def _trajectories(self) -> Trajectories:
        trajectories = {
            **self._views,
            **self.chosen,
            FINAL_OBSERVATION: self.final_observation,
            FINAL_INDEX: self.final_index,
        }
        if self.action_mask is not None:
            trajectories[ACTION_MASK] = self.action_mask
        if self.life_lost is not None:
            trajectories[TERMINATED] = (self.terminated | self.life_lost).unsqueeze(-1)
        return trajectories

    def get_state(self, steps: int) -> dict[str, Any]:
        """Return the first `steps` steps of a rollout that has not come further, for `set_state`."""
        return {
            "steps": steps,
            "columns": {name: column[:steps] for name, column in self._columns().items()},
            "chosen": {name: column[:steps] for name, column in self.chosen.items()},
            "observation": map_observation(lambda leaf: leaf[: steps + 1], self.observation),
            "action_mask": None if self.action_mask is None else self.action_mask[: steps + 1],
            "life_lost": None if self.life_lost is None else self.life_lost[:steps],
            "all_valid": self.all_valid,
            "finals": [list(final) for final in self._finals],
            "broken_off": list(self.broken_off),
        }

    def set_state(self, state: dict[str, Any]) -> int:
        """Take back the steps of `get_state`, and return how many they are."""
        steps: int = state["steps"]
        for name, column in self._columns().items():
            column[:steps].copy_(state["columns"][name])
        for name, column in state["chosen"].items():
            self._allocate_chosen(name, column[0])
            self.chosen[name][:steps].copy_(column)
        _copy(map_observation(lambda leaf: leaf[: steps + 1], self.observation), state["observation"])
        if state["action_mask"] is not None:
            self._allocate_action_mask(state["action_mask"][0])[: steps + 1].copy_(state["action_mask"])
        if state["life_lost"] is not None:
            self.life_lost = torch.zeros_like(self.terminated)
            self.life_lost[:steps].copy_(state["life_lost"])
        self.all_valid = state["all_valid"]
        self._finals[:] = [(t, map_observation(self._own, final)) for t, final in state["finals"]]
        self.broken_off = list(state["broken_off"])
        return steps

    def last_steps(self, count: int) -> dict[str, Any]:
        """Return the last `count` steps of the finished rollout by name, with the observation after them."""
        whole = {ACTION_MASK: self.action_mask, **self.chosen, **self._views}
        start = max(0, self.length - count)
        found = {
            key: map_observation(lambda tensor: tensor[start:], value)
            for key, value in whole.items()
            if value is not None
        }
        return {**found, FINAL_OBSERVATION: self.final_observation, FINAL_INDEX: self.final_index}

    @property
    def frames(self) -> int:
        """Rows of the rollout that are frames."""
        return self.length * self.num_envs if self.all_valid else int(self.valid.sum())

    def check_finite(self, frames: int) -> None:
        """Check that every reward and observation of the finished rollout is a number.

        Args:
            frames: Frames of the run before this rollout, for the message.

        Raises:
            NonFiniteError: Names the tensor, the environment and the frame.
        """
        for name, tensor, shift in self._checked:
            if not is_finite(tensor):
                t, n = first_not_finite(tensor)[:2]
                raise self._not_finite(name, max(t - shift, 0), n, frames)
        for tensor in leaves(self.final_observation):
            if tensor.is_floating_point() and not is_finite(tensor):
                t, n = self.final_index[first_not_finite(tensor)[0]].tolist()
                raise self._not_finite("last observation of an episode", t, n, frames)

    def _fixed_trajectories(self) -> Trajectories:
        """Return the part of the trajectories that is the same tensors in every rollout."""
        columns = {
            REWARD: self.reward,
            TERMINATED: self.terminated,
            TRUNCATED: self.truncated,
            DONE: self.done,
            VALID: self.valid,
            IS_INIT: self.is_init,
        }
        return {OBSERVATION: self.observation, **{key: column.unsqueeze(-1) for key, column in columns.items()}}

    def _find_ends(self) -> None:
        """Find out where episodes begin and end, and with which observation."""
        starts = self.done | ~self.valid  # the row after an end, or after a row that only reset
        self._is_init_rows[0].copy_(self.next_is_init)
        self.is_init[1:] = starts[:-1]
        self.is_init &= self.valid
        self.next_is_init = starts[-1].clone()
        self.final_index = self.done.nonzero()  # [K, 2]
        self.final_observation = self._final_observation(self.final_index)

    def _not_finite(self, name: str, t: int, n: int, frames: int) -> NonFiniteError:
        frames += int(self.valid[:t].sum())
        return NonFiniteError(
            f"environment {n} returned {_article(name)} {name} that is not finite, after {frames:,} frames of the run",
            hint=ENVIRONMENT_HINT,
        )

    def _final_observation(self, final_index: torch.Tensor) -> Observation:
        if not len(final_index):
            return self._no_final
        if not self._finals:
            raise EnvironmentFault(
                "an episode ended, and its last observation is missing: final_observation is None", hint=BROKEN
            )
        times = torch.tensor([t for t, _ in self._finals], device=self.device)
        position = torch.searchsorted(times, final_index[:, 0].contiguous())

        def gather(*steps: torch.Tensor) -> torch.Tensor:
            return torch.stack(steps).to(self.device)[position, final_index[:, 1]]

        return map_observation(gather, *(final for _, final in self._finals))

    def _columns(self) -> dict[str, torch.Tensor]:
        names = (REWARD, TERMINATED, TRUNCATED, VALID)
        return dict(zip(names, (self.reward, self.terminated, self.truncated, self.valid), strict=True))

    def _own(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, copy=True)

    def _allocate_action_mask(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the storage of masks like `mask` [N, A], which is made the first time."""
        if self.action_mask is None:
            self.action_mask = torch.ones(self.length + 1, *mask.shape, dtype=torch.bool, device=self.device)
        return self.action_mask

    def _allocate_chosen(self, key: str, value: torch.Tensor) -> None:
        storage = torch.zeros(self.length, *value.shape, dtype=value.dtype, device=self.device)
        self.chosen[key] = storage
        self._chosen_rows[key] = storage.unbind(0)


def _shifted(part: dict[str, Any], parts: Sequence[dict[str, Any]], at: int) -> torch.Tensor:
    """Return the ends [K, 2] in part number `at`, with the environments' numbers among those of all parts."""
    before = sum(other[REWARD].shape[1] for other in parts[:at])
    shifted: torch.Tensor = part["final_index"] + torch.tensor([0, before])
    return shifted


def _rows(observation: Observation, t: int) -> Observation:
    return map_observation(lambda tensor: tensor[t], observation)


def _copy(into: Observation, source: Observation) -> None:
    if isinstance(into, dict):
        for key, part in into.items():
            _copy(part, source[key])  # type: ignore[index]  # both have the same structure
    else:
        into.copy_(source, non_blocking=True)  # type: ignore[arg-type]


def _is_any(tensor: torch.Tensor) -> bool:
    return bool(np.count_nonzero(tensor.numpy()) if tensor.is_cpu else tensor.any())


def _article(noun: str) -> str:
    return "an" if noun.startswith("o") else "a"
