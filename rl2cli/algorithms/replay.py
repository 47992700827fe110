"""What an off-policy algorithm remembers: a ring of rows per environment, and batches drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rl2cli.algorithms.base import Task
from rl2cli.algorithms.normalization import cut_reward
from rl2cli.algorithms.prioritized import Priorities
from rl2cli.algorithms.replay_options import ReplayOptions
from rl2cli.algorithms.replay_segments import ReplaySegments
from rl2cli.algorithms.replay_storage import ReplayStorage, final_breaks, shift_breaks
from rl2cli.algorithms.ring import Placement, Ring
from rl2cli.keys import (
    ACTION_MASK,
    DONE,
    FINAL_INDEX,
    FINAL_OBSERVATION,
    IS_INIT,
    OBSERVATION,
    VALID,
    Observation,
    Trajectories,
    map_observation,
)
from rl2cli.segment import Segment

WITH_NEXT = (OBSERVATION, ACTION_MASK)
"""What trajectories have for T + 1 steps."""


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

    @property
    def num_rows(self) -> int:
        """B."""
        return len(self.reward)

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


class ReplayBuffer:
    """The newest `buffer_size` frames, or a few more, with their true next observations, each observation once.

    Args:
        task: Gives spaces, number of environments and device; the memory is taken by the first `add`.
        options: `buffer_size`, `n_step`, `gamma`, and what concerns priorities.
    """

    def __init__(self, task: Task, options: ReplayOptions) -> None:
        self.task, self.options = task, options
        stack = task.frame_stack
        frames = -(-options.buffer_size // task.num_envs)
        # Besides the frames, the next observation, and the frames whose stacks are overwritten in part.
        self.ring = Ring(task.num_envs, max(frames + stack, 3 * stack + 1), stack)
        steps = torch.arange(options.n_step, device=task.device)
        self._offsets, self._powers = steps * task.num_envs, options.gamma**steps  # [n]
        self._storage: ReplayStorage | None = None
        self._priorities: Priorities | None = None
        self._segments = ReplaySegments(self.ring)
        self._saved_priorities: dict[str, Any] | None = None

    def __len__(self) -> int:
        return self.ring.num_frames

    @property
    def memory_bytes(self) -> int:
        """Bytes that it will take, known without taking them."""
        storage, priorities = self._allocate(torch.device("meta"))
        return storage.nbytes + (0 if priorities is None else priorities.nbytes)

    def _allocate(self, device: torch.device) -> tuple[ReplayStorage, Priorities | None]:
        storage = ReplayStorage(self.task, self.ring, device)
        if not self.options.prioritized:
            return storage, None
        return storage, Priorities(self.ring.size, self.options.priority_exponent, device)

    def _allocated(self) -> ReplayStorage:
        """Return the storage, which is made the first time."""
        if self._storage is None:
            self._storage, self._priorities = self._allocate(self.task.device)
        return self._storage

    # --- adding ---

    def add(self, trajectories: Trajectories) -> None:
        """Keep the frames of a rollout, see `rl2cli.keys`, in the place of the oldest ones."""
        storage, length, longest = self._allocated(), len(trajectories[DONE]), self.ring.longest_rollout
        for start in range(0, length, longest):
            part = trajectories if length <= longest else _part(trajectories, start, min(start + longest, length))
            placement = self._place(part)
            storage.write(placement, part, self.options.gamma)
            if self._priorities is not None:
                changed = torch.from_numpy(placement.changed).to(storage.device)
                self._priorities.begin(changed, storage.is_frame.index_select(0, changed))
        self._segments.release()

    def _place(self, trajectories: Trajectories) -> Placement:
        done, valid, is_init = (trajectories[key].cpu().numpy()[..., 0] for key in (DONE, VALID, IS_INIT))  # [T, N]
        if self.task.frame_stack == 1:
            return self.ring.place(done, valid, is_init[0])
        observation, final = trajectories[OBSERVATION], trajectories[FINAL_OBSERVATION]
        breaks = shift_breaks(observation), final_breaks(observation, final, trajectories[FINAL_INDEX])
        return self.ring.place(done, valid, is_init[0], *(each.cpu().numpy() for each in breaks))

    # --- sampling ---

    def sample(
        self, count: int, generator: torch.Generator, importance_exponent: float = 1.0
    ) -> tuple[ReplayBatch, Tensor]:
        """Draw `count` frames, with replacement; at least one must be there.

        Args:
            count: B.
            generator: What to draw with, on the task's device.
            importance_exponent: Beta, for the weights of prioritised frames [PER].

        Returns:
            The batch, and its rows in the buffer, [B] int64, for `set_priorities`.
        """
        if self._priorities is None:
            index = self._draw(count, generator)
            return self._batch(index, torch.ones(count, device=index.device)), index
        index = self._priorities.draw(count, generator)
        return self._batch(index, self._priorities.weights(index, importance_exponent)), index

    def set_priorities(self, index: Tensor, td_error: Tensor) -> None:
        """Set how likely the rows `index` [B] int64 are, by their temporal-difference errors [B], if prioritised."""
        if self._priorities is not None:
            self._priorities.update(index, td_error)

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return rows of frames, [count] int64, uniformly: of more rows than that, the first which are frames."""
        used = self.ring.num_used
        more = int(1.1 * count * used / self.ring.num_frames) + 16
        found = self._draw_frames(more, used, generator)
        while len(found) < count:
            found = torch.cat([found, self._draw_frames(more, used, generator)])
        return found[:count]

    def _draw_frames(self, count: int, used: int, generator: torch.Generator) -> Tensor:
        """Return those of `count` of the first `used` rows that are frames."""
        is_frame = self._allocated().is_frame
        rows = torch.randint(used, (count,), generator=generator, device=is_frame.device)
        return rows.masked_select(is_frame.index_select(0, rows))

    def _batch(self, index: Tensor, weight: Tensor) -> ReplayBatch:
        storage = self._allocated()
        if self.options.n_step == 1:
            reward, discount = self._rewards(index), storage.discount.index_select(0, index)
            following = storage.following(index)
        else:
            reward, discount, following = self._n_step(index)
        masks = storage.action_mask
        return ReplayBatch(
            storage.observations(index),
            storage.action.index_select(0, index),
            reward,
            storage.observations(following),
            discount,
            weight,
            None if masks is None else masks.index_select(0, index),
            None if masks is None else masks.index_select(0, following),
        )

    def _n_step(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sum of rewards, the discount, and the row of the observation after these steps, [B] each.

        It stops at a row that is no frame, a final observation or the one after the newest frame, and behind a row
        without a future, which a lost life has within an episode.
        """
        storage = self._allocated()
        rows = (index[:, None] + self._offsets).remainder_(storage.size)  # [B, n]
        goes_on = storage.is_frame.take(rows)
        goes_on[:, 1:] &= storage.discount.take(rows[:, :-1]) > 0.0
        counted = goes_on.cumprod(1)  # [B, n]: all rows up to this one are frames of one life
        reward = (self._rewards(rows) * (counted * self._powers)).sum(1)
        last = counted.sum(1, keepdim=True) - 1  # [B, 1]
        row = rows.gather(1, last).squeeze(1)
        discount = self._powers.take(last).squeeze(1) * storage.discount.index_select(0, row)
        return reward, discount, storage.following(row)

    def _rewards(self, rows: Tensor) -> Tensor:
        """Return the rewards of `rows`, of any shape, as they are learned from."""
        return cut_reward(self._allocated().reward.take(rows), self.options.clip_reward)

    # --- state ---

    def get_state(self) -> dict[str, Any]:
        """Return what `segments` lacks: the positions in the rings, and the priorities."""
        ring = self.ring
        state = {
            "written": ring.written.copy(),
            "is_open": ring.is_open.copy(),
            "length": ring.length,  # these two are for whoever reads a checkpoint without building the buffer
            "stack": ring.stack,
        }
        return state if self._priorities is None else state | {"priorities": self._priorities.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back `get_state`, before `load_segments`."""
        self.ring.written, self.ring.is_open = state["written"].copy(), state["is_open"].copy()
        self._saved_priorities = state.get("priorities")

    def segments(self) -> list[Segment]:
        """Return all frames in pieces that never change again, in order; they share what they can with earlier ones.

        Their memory is given back once their files are known.
        """
        return [] if self._storage is None else self._segments.save(self._storage)

    def load_segments(self, segments: list[Segment]) -> None:
        """Take back `segments`."""
        if not segments:
            return
        self._segments.load(segments, self._allocated())
        if self._priorities is not None and self._saved_priorities is not None:
            self._priorities.set_state(self._saved_priorities)
        self._saved_priorities = None


def _part(trajectories: Trajectories, start: int, stop: int) -> Trajectories:
    """Return the steps from `start` to before `stop` of `trajectories`."""
    step = trajectories[FINAL_INDEX][:, 0]
    ended = ((step >= start) & (step < stop)).nonzero().squeeze(1)
    part: Trajectories = {
        key: map_observation(lambda leaf, end=stop + (key in WITH_NEXT): leaf[start:end], value)
        for key, value in trajectories.items()
    }
    part[FINAL_OBSERVATION] = map_observation(lambda leaf: leaf[ended], trajectories[FINAL_OBSERVATION])
    part[FINAL_INDEX] = trajectories[FINAL_INDEX][ended]
    part[FINAL_INDEX][:, 0] -= start
    return part
