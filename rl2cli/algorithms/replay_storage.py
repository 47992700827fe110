"""The tensors of a replay buffer: how rollouts go into its rows, and observations come out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rl2cli.algorithms.base import Task
from rl2cli.algorithms.ring import Array, Placement, Ring
from rl2cli.keys import (
    ACTION,
    ACTION_MASK,
    FINAL_OBSERVATION,
    OBSERVATION,
    REWARD,
    TERMINATED,
    Observation,
    Trajectories,
    map_observation,
)
from rl2cli.spaces import action_dtype, action_shape, allocate, mask_width


class ReplayStorage:
    """What is known of each row of `ring`, on `device`; every tensor is [size, ...].

    Where the task stacks frames, a row holds the newest one only.
    """

    def __init__(self, task: Task, ring: Ring, device: torch.device) -> None:
        self.num_envs, self.stack, self.size, self.device = ring.num_envs, ring.stack, ring.size, device
        first = 1 if self.stack == 1 else 2

        def rows(leaf: Tensor) -> Tensor:
            return torch.zeros(self.size, *leaf.shape[first:], dtype=leaf.dtype, device=device)

        space = task.action_space
        self.observation = map_observation(rows, allocate(task.observation_space, (1,), "meta"))
        self.action = torch.zeros(self.size, *action_shape(space), dtype=action_dtype(space), device=device)
        self.reward = torch.zeros(self.size, device=device)
        self.discount = torch.zeros(self.size, device=device)
        """Gamma, 0 where the episode terminated."""
        self._rewards, self._discounts = self.reward[:, None], self.discount[:, None]
        self.action_mask: Tensor | None = None
        if task.has_action_mask:
            self.action_mask = torch.ones(self.size, mask_width(space), dtype=torch.bool, device=device)
        self._is_shared = device.type == "cpu"
        self.is_frame = self._flags(lambda: ring.is_frame, self.size)
        """As the ring has it; over the same memory on the CPU. So is `is_prefix`."""
        self.is_prefix = self._flags(lambda: ring.is_prefix, self.size if self.stack > 1 else 0)

    def _flags(self, of_ring: Callable[[], Array], size: int) -> Tensor:
        """Return flags [size] bool of the ring, which allocates them unless this is only to know their size."""
        if self.device.type == "meta":
            return torch.zeros(size, dtype=torch.bool, device="meta")
        return torch.from_numpy(of_ring()).to(self.device)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor but the flags, by name."""
        found = {"action": self.action, "reward": self.reward, "discount": self.discount}
        if self.action_mask is not None:
            found["action_mask"] = self.action_mask
        map_observation(lambda leaf: found.setdefault(f"observation.{len(found)}", leaf), self.observation)
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, flags included."""
        return sum(tensor.nbytes for tensor in (*self.tensors().values(), self.is_frame, self.is_prefix))

    # --- writing ---

    def write(self, placement: Placement, trajectories: Trajectories, gamma: float) -> None:
        """Put a rollout where `placement` says."""
        rows, cells, frames, frame_cells = (self._to_device(part) for part in placement[:4])
        self._write_observations(rows, cells, trajectories[OBSERVATION], placement.heads)
        self.action.index_copy_(0, frames, _pick(trajectories[ACTION], frame_cells))
        self._rewards.index_copy_(0, frames, _pick(trajectories[REWARD], frame_cells))
        if self.action_mask is not None:
            self.action_mask.index_copy_(0, rows, _pick(trajectories[ACTION_MASK], cells))
        self.discount.index_fill_(0, frames, gamma)
        if len(placement.finals) or trajectories[TERMINATED].any():  # a lost life has no final observation
            discount = torch.where(trajectories[TERMINATED], 0.0, gamma)
            self._discounts.index_copy_(0, frames, _pick(discount, frame_cells))
        if len(placement.finals):
            self._write_finals(placement, trajectories[FINAL_OBSERVATION])
        if not self._is_shared:
            self._mark(placement, frames)

    def _write_finals(self, placement: Placement, values: Observation) -> None:
        rows = self._to_device(placement.finals)
        self._write_observations(rows, None, map_observation(lambda leaf: leaf[None], values), placement.final_heads)
        if self.action_mask is not None:
            self.action_mask.index_fill_(0, rows, True)

    def _write_observations(
        self, rows: Tensor, cells: Tensor | None, values: Observation, heads: tuple[Array, Array]
    ) -> None:
        """Put `cells` of `values` [T, N, *obs] in `rows`, and older frames where the rows before are none."""

        def write(into: Tensor, leaf: Tensor) -> None:
            into.index_copy_(0, rows, _pick(leaf if self.stack == 1 else leaf[:, :, -1], cells))

        map_observation(write, self.observation, values)
        if len(heads[1]):
            assert isinstance(values, Tensor)
            assert isinstance(self.observation, Tensor)
            older = _pick(values, self._to_device(heads[1]))[:, :-1]  # [P, stack - 1, *frame]
            self.observation.index_copy_(0, self._to_device(heads[0]), older.flatten(0, 1))

    def _mark(self, placement: Placement, frames: Tensor) -> None:
        """Bring the flags on another device up to date."""
        changed = self._to_device(placement.changed)
        self.is_frame.index_fill_(0, changed, False).index_fill_(0, frames, True)
        if self.stack > 1:
            self.is_prefix.index_fill_(0, changed, False)
            for prefixes, _ in (placement.heads, placement.final_heads):
                self.is_prefix.index_fill_(0, self._to_device(prefixes), True)

    def _to_device(self, array: Array | None) -> Any:
        if array is None:
            return None
        tensor = torch.from_numpy(array)
        return tensor if self._is_shared else tensor.to(self.device)

    # --- state ---

    def copy(self, rows: Array) -> dict[str, Tensor]:
        """Return a copy of `rows` [M] of every tensor but the flags, by name, on the CPU."""
        index = self._to_device(rows)
        return {name: tensor.index_select(0, index).cpu() for name, tensor in self.tensors().items()}

    def restore(self, rows: Array, tensors: dict[str, Tensor]) -> None:
        """Take back what `copy` returned."""
        index = self._to_device(rows)
        for name, tensor in self.tensors().items():
            tensor.index_copy_(0, index, tensors[name].to(self.device))

    def copy_flags(self, ring: Ring) -> None:
        """Take the flags as `ring` has them."""
        if not self._is_shared:
            self.is_frame.copy_(torch.from_numpy(ring.is_frame))
            self.is_prefix.copy_(torch.from_numpy(ring.is_prefix))

    # --- reading ---

    def following(self, rows: Tensor) -> Tensor:
        """Return the rows of the next observations of the frames `rows` [B] int64."""
        after = (rows + self.num_envs).remainder_(self.size)
        if self.stack == 1:
            return after
        beyond = self.is_prefix[after] * ((self.stack - 1) * self.num_envs)
        return (after + beyond).remainder_(self.size)

    def observations(self, rows: Tensor) -> Observation:
        """Return the observations [B, *obs] of `rows` [B] int64."""
        if self.stack == 1:
            return map_observation(lambda leaf: leaf.index_select(0, rows), self.observation)
        back = torch.arange(1 - self.stack, 1, device=self.device) * self.num_envs
        stacks = (rows[:, None] + back).remainder_(self.size).flatten()  # [B × stack]
        return map_observation(
            lambda leaf: leaf.index_select(0, stacks).unflatten(0, (len(rows), self.stack)), self.observation
        )


def shift_breaks(values: Tensor) -> Tensor:
    """Return where each stack is not the one before moved up by one frame, [T, N] bool, for stacks [T+1, N, k, *]."""
    words = _words(values)
    return (words[:-1, :, 1:] != words[1:, :, :-1]).any(3).any(2)


def final_breaks(values: Tensor, finals: Tensor, final_index: Tensor) -> Tensor:
    """Return [K] bool, the same for final stacks [K, k, *], which end the steps `final_index` [K, 2]."""
    if len(finals) == 0:
        return torch.zeros(0, dtype=torch.bool)
    before = values[final_index[:, 0], final_index[:, 1]]
    return shift_breaks(torch.stack([before, finals]))[0]


def _words(stacks: Tensor) -> Tensor:
    """Return the bits of stacks [T, N, k, *] as whole numbers [T, N, k, M], as few as possible.

    Floats would not do: 0.0 equals -0.0, and NaN differs from itself.
    """
    frames = stacks.contiguous().unsqueeze(-1).flatten(3)  # [T, N, k, M]
    width = frames.shape[3] * frames.element_size()
    return frames.view(torch.int64 if width % 8 == 0 else torch.int32 if width % 4 == 0 else torch.uint8)


def _pick(values: Tensor, cells: Tensor | None) -> Tensor:
    """Return `values` [T, N, *] of `cells` [M], [M, *]; all of them for None."""
    flat = values.flatten(0, 1)
    return flat if cells is None else flat.index_select(0, cells)
