"""Gymnasium's spaces as tensors: what an observation becomes, and what a policy's action becomes.

| observation space | tensor |
| --- | --- |
| Box of floats / uint8 / other integers | float32 / uint8 / int64 [N, *shape] |
| Discrete, MultiDiscrete, MultiBinary | int64 [N, *shape], counted from 0 |
| Dict, Tuple (keys "0", "1", …), nested | dict of these |

| action space | the policy's numbers |
| --- | --- |
| Discrete | int64 [N], counted from 0 |
| MultiDiscrete, MultiBinary | int64 [N, k] |
| Box | float32 [N, *shape]; clipped to the bounds when it goes to the backend |
| Dict, Tuple, nested | float32 [N, width]: the leaves side by side, in Gymnasium's key order |
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.errors import UsageError
from rl2cli.keys import Observation

Space: TypeAlias = "spaces.Space[Any]"
Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
LeafPath: TypeAlias = "tuple[str | int, ...]"

SUPPORTED = "Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these"


@dataclass(frozen=True)
class ActionLeaf:
    """One plain part of an action space, and where it lies in the flattened action of one environment."""

    kind: Literal["categorical", "bernoulli", "normal"]
    """Distribution that samples it."""
    start: int
    """Its first number in the action vector."""
    width: int
    """How many numbers it has."""
    sizes: tuple[int, ...]
    """Categories of each number; empty unless categorical."""
    low: tuple[float, ...]
    """Lower bound of each number; empty unless normal."""
    high: tuple[float, ...]
    """Upper bound of each number; empty unless normal."""
    shape: tuple[int, ...]
    """Shape that the backend gives it."""


def observation_space(space: Space) -> Space:
    """Return the space of what `to_tensors` makes: Tuple as Dict, counted from 0, float32, uint8 or int64.

    Raises:
        UsageError: A part of it is no supported space.
    """
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: observation_space(part) for key, part in space.spaces.items()})
    if isinstance(space, spaces.Tuple):
        return spaces.Dict({str(index): observation_space(part) for index, part in enumerate(space.spaces)})
    if isinstance(space, spaces.Box):
        dtype = array_dtype(space)
        if space.dtype == dtype:
            return space
        with np.errstate(over="ignore"):  # a float64 bound beyond float32 becomes infinite
            return spaces.Box(space.low.astype(dtype), space.high.astype(dtype), dtype=dtype.type)
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return spaces.MultiDiscrete(space.nvec)
    if isinstance(space, spaces.MultiBinary):
        return space
    raise _unsupported("observation", space)


def observation_leaves(space: Space, path: LeafPath = ()) -> Iterator[tuple[LeafPath, Space]]:
    """Yield the plain parts of `space` with the keys and indices that lead to each in the backend's data."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from observation_leaves(part, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for index, part in enumerate(space.spaces):
            yield from observation_leaves(part, (*path, index))
    else:
        yield path, space


def array_dtype(space: Space) -> np.dtype[Any]:
    """Return the dtype that observations of a plain space have: float32, uint8 or int64."""
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return np.dtype(np.float32)
    if isinstance(space, spaces.Box) and space.dtype == np.uint8:
        return np.dtype(np.uint8)
    return np.dtype(np.int64)


def leaf_shape(space: Space) -> tuple[int, ...]:
    """Return the shape of one observation of a plain space."""
    if space.shape is None:
        raise _unsupported("observation", space)
    return tuple(space.shape)


def count_numbers(space: Space) -> int:
    """Return how many numbers one observation of `space` has."""
    return sum(math.prod(leaf_shape(leaf)) for _, leaf in observation_leaves(space))


def allocate(space: Space, leading: tuple[int, ...], device: torch.device | str = "cpu") -> Observation:
    """Return zeros [*leading, *obs] for observations of `space`."""
    if isinstance(space, spaces.Dict):
        return {key: allocate(part, leading, device) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return {str(index): allocate(part, leading, device) for index, part in enumerate(space.spaces)}
    dtype = torch.from_numpy(np.zeros(0, array_dtype(space))).dtype
    return torch.zeros(*leading, *leaf_shape(space), dtype=dtype, device=device)


def to_tensors(space: Space, raw: Any) -> Observation:
    """Return a backend's batch of observations as tensors [N, *obs], without a copy where the dtype fits.

    Args:
        space: Space of one observation, as the backend declares it.
        raw: Batch of them: array, or nested dict or tuple of arrays.
    """
    if isinstance(raw, np.ndarray) and raw.dtype.char in "fB" and raw.dtype == space.dtype and raw.flags.writeable:
        return torch.from_numpy(raw)
    if isinstance(space, spaces.Dict):
        return {key: to_tensors(part, raw[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return {str(index): to_tensors(part, raw[index]) for index, part in enumerate(space.spaces)}
    array = np.asarray(raw) - first_value(space) if counts_from_elsewhere(space) else np.asarray(raw)
    array = array.astype(array_dtype(space), copy=not array.flags.writeable)
    return torch.from_numpy(array)


def counts_from_elsewhere(space: Space) -> bool:
    """Return whether a plain space counts from a number other than 0."""
    return isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and bool(np.any(space.start))


def first_value(space: Space) -> Any:
    """Return the number that a Discrete or MultiDiscrete space counts from (an array for MultiDiscrete); else 0."""
    return space.start if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) else 0


def choices(space: Space) -> Any:
    """Return how many values each number of a plain space has (an array for MultiDiscrete); None of a Box."""
    if isinstance(space, spaces.MultiDiscrete):
        return space.nvec
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    return 2 if isinstance(space, spaces.MultiBinary) else None


def action_leaves(space: Space) -> tuple[ActionLeaf, ...]:
    """Return the plain parts of an action space in the order in which the action vector holds them.

    Raises:
        UsageError: A part of it is no supported space.
    """
    found: list[ActionLeaf] = []
    start = 0
    for _, part in observation_leaves(space):
        leaf = _action_leaf(part, start)
        found.append(leaf)
        start += leaf.width
    return tuple(found)


def action_shape(space: Space) -> tuple[int, ...]:
    """Return the shape of one environment's action, as the policy makes it."""
    leaves = action_leaves(space)
    if isinstance(space, spaces.Discrete):
        return ()
    if isinstance(space, spaces.Box):
        return leaves[0].shape
    return (sum(leaf.width for leaf in leaves),)


def action_dtype(space: Space) -> torch.dtype:
    """Return the dtype of the policy's actions: int64, or float32 for Box and composite spaces."""
    whole = isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)
    return torch.int64 if whole else torch.float32


def mask_width(space: Space) -> int:
    """Return how many choices an `action_mask` row covers: all categories, side by side."""
    return sum(sum(leaf.sizes) for leaf in action_leaves(space))


def action_array(actions: torch.Tensor) -> Array:
    """Return the policy's actions as an array: over the same memory on the CPU, else a copy."""
    array: Array = actions.numpy() if actions.is_cpu else actions.cpu().numpy()
    return array


def to_backend_batch(space: Space, actions: Array) -> Any:
    """Return the policy's actions [N, *act] as a Gymnasium batch of `space`.

    Box actions are clipped to the bounds, whole numbers rounded, Discrete starts added, composites taken apart.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return _composite_batch(space, actions, 0)[0]
    return _plain_batch(space, actions)


def to_backend_rows(space: Space, actions: Array) -> list[Any]:
    """Return the policy's actions [N, *act] as a list of N Gymnasium actions of `space`."""
    batch = to_backend_batch(space, actions)
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return [_row(batch, index) for index in range(len(actions))]
    return list(batch)


def to_backend(space: Space, action: Array) -> Any:
    """Return one environment's action [*act] of the policy as a Gymnasium action of `space`."""
    return to_backend_rows(space, np.asarray(action)[None])[0]


def sample_actions(space: Space, num_envs: int, generator: np.random.Generator) -> torch.Tensor:
    """Return random actions [N, *act] as a policy would make them; normal where a Box has no bounds."""
    columns = [_sample_leaf(leaf, num_envs, generator) for leaf in action_leaves(space)]
    flat = torch.from_numpy(np.concatenate(columns, axis=1)).to(action_dtype(space))  # [N, width]
    return flat.reshape(num_envs, *action_shape(space))


def _unsupported(what: str, space: object) -> UsageError:
    return UsageError(f"{what} space {type(space).__name__} is not supported", hint=f"supported: {SUPPORTED}")


def _action_leaf(space: Space, start: int) -> ActionLeaf:
    if isinstance(space, spaces.Discrete):
        return ActionLeaf("categorical", start, 1, (int(space.n),), (), (), ())
    if isinstance(space, spaces.MultiDiscrete):
        sizes = tuple(int(size) for size in space.nvec.flatten())
        return ActionLeaf("categorical", start, len(sizes), sizes, (), (), tuple(space.nvec.shape))
    if isinstance(space, spaces.MultiBinary):
        return ActionLeaf("bernoulli", start, math.prod(space.shape), (), (), (), tuple(space.shape))
    if isinstance(space, spaces.Box):
        low = tuple(float(bound) for bound in space.low.flatten())
        high = tuple(float(bound) for bound in space.high.flatten())
        return ActionLeaf("normal", start, len(low), (), low, high, tuple(space.shape))
    raise _unsupported("action", space)


def _plain_batch(space: Space, actions: Array) -> Array:
    if isinstance(space, spaces.Discrete):
        return actions + space.start if space.start else actions
    if isinstance(space, spaces.Box):
        if space.dtype.kind != "f":
            actions = np.rint(actions)
        clipped: Array = np.minimum(np.maximum(actions, space.low), space.high)
        return clipped.astype(space.dtype, copy=False)
    shaped: Array = actions.reshape(len(actions), *leaf_shape(space)) + first_value(space)
    return shaped.astype(space.dtype)


def _composite_batch(space: Space, actions: Array, start: int) -> tuple[Any, int]:
    if isinstance(space, spaces.Dict):
        parts: dict[str, Any] = {}
        for key, part in space.spaces.items():
            parts[key], start = _composite_batch(part, actions, start)
        return parts, start
    if isinstance(space, spaces.Tuple):
        items: list[Any] = []
        for part in space.spaces:
            item, start = _composite_batch(part, actions, start)
            items.append(item)
        return tuple(items), start
    leaf = _action_leaf(space, start)
    numbers = actions[:, start : start + leaf.width]  # [N, width]
    if leaf.kind != "normal":
        numbers = np.rint(numbers).astype(np.int64)
    return _plain_batch(space, numbers.reshape(len(actions), *leaf.shape)), start + leaf.width


def _row(batch: Any, index: int) -> Any:
    if isinstance(batch, dict):
        return {key: _row(part, index) for key, part in batch.items()}
    if isinstance(batch, tuple):
        return tuple(_row(part, index) for part in batch)
    return batch[index]


def _sample_leaf(leaf: ActionLeaf, num_envs: int, generator: np.random.Generator) -> Array:
    size = (num_envs, leaf.width)
    if leaf.kind == "categorical":
        return generator.integers(0, np.array(leaf.sizes), size=size).astype(np.float64)
    if leaf.kind == "bernoulli":
        return generator.integers(0, 2, size=size).astype(np.float64)
    low, high = np.array(leaf.low), np.array(leaf.high)
    low, high = np.where(np.isfinite(low), low, -np.inf), np.where(np.isfinite(high), high, np.inf)
    bounded = np.isfinite(low) & np.isfinite(high)
    uniform = generator.uniform(np.where(bounded, low, 0.0), np.where(bounded, high, 1.0), size=size)
    normal = np.clip(generator.standard_normal(size), low, high)
    return np.asarray(np.where(bounded, uniform, normal))
