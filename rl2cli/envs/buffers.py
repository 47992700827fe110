"""The memory that N environments write a step into: arrays of this process, or shared between processes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from rl2cli.envs.base import Step
from rl2cli.keys import Observation
from rl2cli.spaces import (
    Array,
    LeafPath,
    Space,
    array_dtype,
    choices,
    counts_from_elsewhere,
    first_value,
    leaf_shape,
    observation_leaves,
)
from rl2cli.text import shortened

Layout: TypeAlias = "dict[str, tuple[tuple[int, ...], np.dtype[Any]]]"


_EVERY = slice(None)


class BrokenContractError(ValueError):
    """A value that an environment gave is not what its spaces say; the message says which and how."""


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


class _Leaf:
    """A plain part of an observation, and the array [N, *shape] that it is written into."""

    def __init__(self, path: LeafPath, space: Space, array: Array) -> None:
        self.path, self.array = path, array
        self.name = ".".join(["observation", *map(str, path)])
        self.start = first_value(space) if counts_from_elsewhere(space) else None
        self.sizes = choices(space)

    def checked(self, raw: Any, shape: tuple[int, ...], rows: Array | slice = _EVERY) -> Any:
        """Return this part of `raw`, counted from 0; its values count in `rows` alone."""
        try:
            value = np.asarray(_at(raw, self.path))
        except (KeyError, IndexError, TypeError) as error:
            raise BrokenContractError(f"{self.name} is missing, got {type(raw).__name__}") from error
        except ValueError as error:
            raise BrokenContractError(f"{self.name} is no array: {error}") from error
        if value.shape != shape:
            raise BrokenContractError(f"{self.name} has shape {value.shape}, its space says {shape}")
        if value.dtype.kind not in ("fiub" if self.array.dtype.kind == "f" else "iub"):
            raise BrokenContractError(f"{self.name} has dtype {value.dtype}, its space says {self.array.dtype}")
        if self.sizes is not None:
            counted = value if self.start is None else value - self.start
            if _any((counted < 0) | (counted >= self.sizes), rows):
                raise BrokenContractError(f"{self.name} is outside its space: {_shown(value)}")
            return counted
        if self.array.dtype == np.uint8 != value.dtype and _any((value < 0) | (value > 255), rows):
            raise BrokenContractError(f"{self.name} is outside its space, 0 to 255: {_shown(value)}")
        return value


class ObservationBuffer:
    """Observations [N, *obs] of N environments, written one at a time.

    Args:
        space: Space of one observation, as the backend declares it.
        arrays: One array [N, *shape] per plain part of the space, in the order of `observation_leaves`.
    """

    def __init__(self, space: Space, arrays: Sequence[Array]) -> None:
        self.arrays = list(arrays)
        self._leaves = [_Leaf(path, leaf, a) for (path, leaf), a in zip(observation_leaves(space), arrays, strict=True)]
        first = self._leaves[0]
        self._plain = first.array if first.path == () and first.sizes is None else None
        self._row_shape = first.array.shape[1:]
        self.tensors: Observation = _nest([(leaf.path, torch.from_numpy(leaf.array)) for leaf in self._leaves])

    def write(self, index: int, raw: Any) -> None:
        """Copy one environment's observation into row `index`.

        Raises:
            BrokenContractError: It has not the shapes and kinds of the space, or leaves a space of whole numbers.
        """
        plain = self._plain
        if (
            plain is not None
            and raw.__class__ is np.ndarray
            and raw.dtype == plain.dtype
            and raw.shape == self._row_shape
        ):
            plain[index] = raw
            return
        for leaf in self._leaves:
            leaf.array[index] = leaf.checked(raw, leaf.array.shape[1:])

    def write_batch(self, raw: Any, rows: Array | slice = _EVERY) -> None:
        """Copy the observations of all environments, those in `rows` [N] bool with values that count.

        Raises:
            BrokenContractError: See `write`.
        """
        plain = self._plain
        if plain is not None and raw.__class__ is np.ndarray and raw.dtype == plain.dtype and raw.shape == plain.shape:
            plain[...] = raw
            return
        for leaf in self._leaves:
            leaf.array[...] = leaf.checked(raw, leaf.array.shape, rows)

    def hash(self, index: int) -> Array:
        """Return the sha256 of the observation in row `index`, [32] uint8."""
        digest = hashlib.sha256()
        for array in self.arrays:
            digest.update(np.ascontiguousarray(array[index]).tobytes())
        return np.frombuffer(digest.digest(), dtype=np.uint8)

    def hashes(self) -> Array:
        """Return the sha256 of every observation, [N, 32] uint8."""
        return np.stack([self.hash(index) for index in range(len(self.arrays[0]))])


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


def _any(bad: Array, rows: Array | slice) -> bool:
    return bool(np.atleast_1d(bad)[rows].any())


def _shown(value: Array) -> str:
    return shortened(" ".join(str(value).split()), 60)


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
