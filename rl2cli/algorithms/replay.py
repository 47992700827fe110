"""What an off-policy algorithm remembers: a ring of rows per environment, and batches drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rl2cli.algorithms.base import Task
from rl2cli.algorithms.replay_options import ReplayOptions
from rl2cli.algorithms.ring import Array, Ring
from rl2cli.keys import (
    ACTION,
    ACTION_MASK,
    DONE,
    FINAL_OBSERVATION,
    IS_INIT,
    OBSERVATION,
    REWARD,
    TERMINATED,
    VALID,
    Observation,
    Trajectories,
    map_observation,
)
from rl2cli.segment import Segment
from rl2cli.spaces import action_dtype, action_shape, allocate, mask_width


class ReplayBatch(NamedTuple):
    """Frames to learn from; every tensor has B rows."""

    observation: Observation
    """[B, *obs], raw."""
    action: Tensor
    """[B, *act]."""
    reward: Tensor
    """[B] float32: the sum over i < k of gamma^i r_(t+i), raw; k is `n_step`, or fewer where an episode ends."""
    next_observation: Observation
    """[B, *obs], the true one k steps later, raw."""
    discount: Tensor
    """[B] float32: gamma^k, 0 where the episode terminated."""
    weight: Tensor
    """[B] float32, of importance; ones unless prioritised."""
    action_mask: Tensor | None
    """[B, A] bool, of `observation`."""
    next_action_mask: Tensor | None
    """[B, A] bool, of `next_observation`; all True at an episode's end."""

    def select(self, rows: slice | Tensor) -> ReplayBatch:
        """Return the rows at `rows`."""
        return self._map(lambda tensor: tensor[rows])

    def tensors(self) -> list[Tensor]:
        """Return every tensor, in order."""
        found: list[Tensor] = []
        self._map(found.append)
        return found

    def with_tensors(self, tensors: Sequence[Tensor]) -> ReplayBatch:
        """Return a batch of this structure that holds `tensors`, in the order of `tensors()`."""
        rest = iter(tensors)
        return self._map(lambda _: next(rest))

    def _map(self, function: Any) -> ReplayBatch:
        return ReplayBatch(*[None if part is None else map_observation(function, part) for part in self])  # type: ignore[arg-type]  # only masks may be None


class _Storage(NamedTuple):
    """What is known of each row; all [N * length, ...]."""

    observation: Observation
    action: Tensor
    reward: Tensor
    discount: Tensor
    """Gamma, 0 where the episode terminated."""
    action_mask: Tensor | None


class ReplayBuffer:
    """The newest frames of N environments, with their true next observations, each observation once.

    Args:
        task: Gives spaces, number of environments and device; the memory is taken by the first `add`.
        options: `buffer_size`, `n_step` and `gamma`.
    """

    def __init__(self, task: Task, options: ReplayOptions) -> None:
        self.task, self.options = task, options
        self.ring = Ring(task.num_envs, -(-options.buffer_size // task.num_envs) + 1)
        self._storage: _Storage | None = None
        self._is_frame = torch.from_numpy(self.ring.is_frame)

    def __len__(self) -> int:
        return self.ring.num_frames

    @property
    def memory_bytes(self) -> int:
        """Bytes that it will take, without taking them."""
        storage = self._make_storage(torch.device("meta"))
        sizes: list[int] = [self.ring.is_frame.nbytes]
        for part in storage:
            if part is not None:
                map_observation(lambda tensor: sizes.append(tensor.nbytes), part)
        return sum(sizes)

    def _make_storage(self, device: torch.device) -> _Storage:
        task, size = self.task, len(self.ring.is_frame)
        space = task.action_space
        masks = None
        if task.has_action_mask:
            masks = torch.ones(size, mask_width(space), dtype=torch.bool, device=device)
        return _Storage(
            allocate(task.observation_space, (size,), device),
            torch.zeros(size, *action_shape(space), dtype=action_dtype(space), device=device),
            torch.zeros(size, device=device),
            torch.zeros(size, device=device),
            masks,
        )

    # --- adding ---

    def add(self, trajectories: Trajectories) -> None:
        """Keep the frames of a rollout, see `rl2cli.keys`, in the place of the oldest ones."""
        if self._storage is None:
            self._storage = self._make_storage(self.task.device)
            self._is_frame = self._is_frame.to(self.task.device)
        storage = self._storage
        flags = [trajectories[key][..., 0] for key in (DONE, VALID)] + [trajectories[IS_INIT][0, :, 0]]
        placement = self.ring.place(*[flag.cpu().numpy() for flag in flags])
        rows, frames, finals = (self._to_device(part) for part in (placement.rows, placement.frames, placement.finals))
        kept, kept_frames = self._to_device(placement.kept), self._to_device(placement.kept_frames)
        discount = torch.where(trajectories[TERMINATED][..., 0], 0.0, self.options.gamma)
        _write(storage.observation, rows, trajectories[OBSERVATION], kept)
        _write(storage.action, frames, trajectories[ACTION], kept_frames)
        _write(storage.reward, frames, trajectories[REWARD][..., 0], kept_frames)
        _write(storage.discount, frames, discount, kept_frames)
        if storage.action_mask is not None:
            _write(storage.action_mask, rows, trajectories[ACTION_MASK], kept)
        if len(placement.finals):
            kept_finals = self._to_device(placement.kept_finals)
            _write_finals(storage.observation, finals, trajectories[FINAL_OBSERVATION], kept_finals)
            if storage.action_mask is not None:
                storage.action_mask[finals] = True
        if self.task.device.type != "cpu":
            self._is_frame[rows] = False
            self._is_frame[finals] = False
            self._is_frame[frames] = True

    def _to_device(self, array: Array | None) -> Any:
        return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(self.task.device)

    # --- sampling ---

    def sample(
        self, count: int, generator: torch.Generator, importance_exponent: float = 1.0
    ) -> tuple[ReplayBatch, Tensor]:
        """Draw `count` frames, with replacement.

        Returns:
            The batch, and the rows it is from, [count] int64, for `set_priorities`.
        """
        del importance_exponent
        index = self._draw(count, generator)
        return self._batch(index), index

    def set_priorities(self, index: Tensor, td_error: Tensor) -> None:
        """Make frames more or less likely: `td_error` [B] of the rows `index` [B]."""

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return rows of frames, [count] int64, uniformly: rows that are none are drawn again."""
        used, device = self.ring.num_used, self.task.device
        index = torch.randint(used, (count,), generator=generator, device=device)
        while not (good := self._is_frame[index]).all():
            again = (~good).nonzero().squeeze(1)
            index[again] = torch.randint(used, again.shape, generator=generator, device=device)
        return index

    def _batch(self, index: Tensor) -> ReplayBatch:
        assert self._storage is not None
        observation, action, reward, discount, masks = self._storage
        size, num_envs = len(self._is_frame), self.task.num_envs
        if self.options.n_step == 1:
            reward, discount = reward[index], discount[index]
            following = (index + num_envs).remainder_(size)
        else:
            reward, discount, following = self._n_step(index)
        return ReplayBatch(
            _read(observation, index),
            action.index_select(0, index),
            reward,
            _read(observation, following),
            discount,
            torch.ones_like(reward),
            None if masks is None else masks.index_select(0, index),
            None if masks is None else masks.index_select(0, following),
        )

    def _n_step(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sum of rewards, the discount and the row after the last of these steps, [B] each."""
        assert self._storage is not None
        n, num_envs, size = self.options.n_step, self.task.num_envs, len(self._is_frame)
        steps = torch.arange(n, device=index.device)
        rows = (index[:, None] + steps * num_envs).remainder_(size)  # [B, n]
        counted = self._is_frame[rows].cumprod(1)  # [B, n]
        powers = self.options.gamma**steps
        reward = (self._storage.reward[rows] * counted * powers).sum(1)
        last = counted.sum(1) - 1
        final = (index + last * num_envs).remainder_(size)
        return reward, powers[last] * self._storage.discount[final], (final + num_envs).remainder_(size)

    # --- state ---

    def segments(self) -> list[Segment]:
        """Return what a checkpoint keeps of it, in order."""
        return []

    def load_segments(self, segments: list[Segment]) -> None:
        """Take back `segments`, after `set_state`."""

    def get_state(self) -> dict[str, Any]:
        """Return what changes all the time: positions and priorities."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back `get_state`."""


def _write(into: Observation, rows: Tensor, values: Observation, kept: Tensor | None) -> None:
    """Put `values` [T, N, ...], where they are `kept`, in `rows`."""

    def write(storage: Tensor, tensor: Tensor) -> None:
        storage.index_copy_(0, rows, tensor.flatten(0, 1) if kept is None else tensor[kept])

    map_observation(write, into, values)


def _write_finals(into: Observation, rows: Tensor, values: Observation, kept: Tensor | None) -> None:
    """Put `values` [K, ...], where they are `kept`, in `rows`."""

    def write(storage: Tensor, tensor: Tensor) -> None:
        storage.index_copy_(0, rows, tensor if kept is None else tensor[kept])

    map_observation(write, into, values)


def _read(observation: Observation, index: Tensor) -> Observation:
    return map_observation(lambda tensor: tensor.index_select(0, index), observation)
