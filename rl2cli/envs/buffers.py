"""The memory that N environments write a step into: arrays of this process, or shared between processes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from rl2cli.envs.base import Step
from rl2cli.errors import EnvironmentFault
from rl2cli.keys import Observation
from rl2cli.spaces import (
    Array,
    LeafPath,
    Space,
    array_dtype,
    counts_from_elsewhere,
    first_value,
    leaf_shape,
    observation_leaves,
)

Layout: TypeAlias = "dict[str, tuple[tuple[int, ...], np.dtype[Any]]]"


def step_layout(space: Space, num_envs: int, mask_width: int) -> Layout:
    """Return name → (shape, dtype) of every array that a step of `num_envs` environments fills.

    Args:
        space: Space of one observation, as the backend declares it.
        num_envs: N.
        mask_width: Width of an action mask; 0 for none.
    """
    layout: Layout = {
        "reward": ((num_envs,), np.dtype(np.float32)),
        "terminated": ((num_envs,), np.dtype(np.bool_)),
        "truncated": ((num_envs,), np.dtype(np.bool_)),
    }
    if mask_width:
        layout["action_mask"] = ((num_envs, mask_width), np.dtype(np.bool_))
    for index, (_, leaf) in enumerate(observation_leaves(space)):
        for name in ("observation", "final_observation"):
            layout[f"{name}/{index}"] = ((num_envs, *leaf_shape(leaf)), array_dtype(leaf))
    return layout


class ObservationBuffer:
    """Observations [N, *obs] of N environments, written one at a time.

    Args:
        space: Space of one observation, as the backend declares it.
        arrays: One array [N, *shape] per plain part of the space, in the order of `observation_leaves`.
    """

    def __init__(self, space: Space, arrays: Sequence[Array]) -> None:
        self.arrays = list(arrays)
        self._leaves: list[tuple[LeafPath, Array, Any]] = []
        for (path, leaf), array in zip(observation_leaves(space), arrays, strict=True):
            self._leaves.append((path, array, first_value(leaf) if counts_from_elsewhere(leaf) else None))
        path, array, start = self._leaves[0]
        self._plain = array if path == () and start is None else None
        self.tensors: Observation = _nest([(path, torch.from_numpy(array)) for path, array, _ in self._leaves])

    def write(self, index: int, raw: Any) -> None:
        """Copy one environment's observation into row `index`."""
        if self._plain is not None:
            self._plain[index] = raw
            return
        for path, array, start in self._leaves:
            value = _at(raw, path)
            array[index] = value if start is None else value - start

    def write_batch(self, raw: Any) -> None:
        """Copy the observations of all environments."""
        if self._plain is not None:
            self._plain[...] = raw
            return
        for path, array, start in self._leaves:
            value = _at(raw, path)
            array[...] = value if start is None else value - start

    def hash(self, index: int) -> Array:
        """Return the sha256 of the observation in row `index`, [32] uint8."""
        digest = hashlib.sha256()
        for array in self.arrays:
            digest.update(np.ascontiguousarray(array[index]).tobytes())
        return np.frombuffer(digest.digest(), dtype=np.uint8)

    def hashes(self) -> Array:
        """Return the sha256 of every observation, [N, 32] uint8."""
        return np.stack([self.hash(index) for index in range(len(self.arrays[0]))])

    def check(self, raw: Any, who: str, batch: bool = False) -> None:
        """Raise an EnvironmentFault if an observation, or a batch of N, has not the shapes and kinds of the space."""
        for path, array, _ in self._leaves:
            name = ".".join(["observation", *map(str, path)])
            try:
                value = np.asarray(_at(raw, path))
            except (KeyError, IndexError, TypeError) as error:
                raise EnvironmentFault(f"{who}: {name} is missing, got {type(raw).__name__}") from error
            expected = array.shape if batch else array.shape[1:]
            if value.shape != expected:
                raise EnvironmentFault(f"{who}: {name} has shape {value.shape}, its space says {expected}")
            if value.dtype.kind not in ("fiub" if array.dtype.kind == "f" else "iub"):
                raise EnvironmentFault(f"{who}: {name} has dtype {value.dtype}, its space says {array.dtype}")


def allocate_buffers(space: Space, num_envs: int, mask_width: int) -> StepBuffers:
    """Return buffers in memory of this process; the arguments are those of `step_layout`."""
    layout = step_layout(space, num_envs, mask_width)
    return StepBuffers(space, {name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.items()})


class StepBuffers:
    """Everything that a step of N environments fills, and the `Step` over it.

    The tensors of a `Step` are views of the buffers: they hold until the next step.

    Args:
        space: Space of one observation, as the backend declares it.
        arrays: Arrays named and shaped as `step_layout` says.
    """

    def __init__(self, space: Space, arrays: Mapping[str, Array]) -> None:
        count = len(list(observation_leaves(space)))
        self.observation = ObservationBuffer(space, [arrays[f"observation/{index}"] for index in range(count)])
        self.final = ObservationBuffer(space, [arrays[f"final_observation/{index}"] for index in range(count)])
        self.reward = arrays["reward"]
        self.terminated = arrays["terminated"]
        self.truncated = arrays["truncated"]
        self.action_mask = arrays.get("action_mask")
        self._tensors = [torch.from_numpy(array) for array in (self.reward, self.terminated, self.truncated)]
        self._mask = None if self.action_mask is None else torch.from_numpy(self.action_mask)

    def info(self) -> dict[str, Any]:
        """Return the info of the current observations."""
        return {} if self._mask is None else {"action_mask": self._mask}

    def step(self, ended: bool) -> Step:
        """Return the buffers as a `Step` of frames only; `ended` says whether any episode did."""
        reward, terminated, truncated = self._tensors
        final = self.final.tensors if ended else None
        return Step(self.observation.tensors, reward, terminated, truncated, final, info=self.info())


def _at(raw: Any, path: LeafPath) -> Any:
    for key in path:
        raw = raw[key]
    return raw


def _nest(leaves: list[tuple[LeafPath, torch.Tensor]]) -> Observation:
    if leaves[0][0] == ():
        return leaves[0][1]
    groups: dict[str, list[tuple[LeafPath, torch.Tensor]]] = {}
    for path, tensor in leaves:
        groups.setdefault(str(path[0]), []).append((path[1:], tensor))
    return {key: _nest(group) for key, group in groups.items()}
