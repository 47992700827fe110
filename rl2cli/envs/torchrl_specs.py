"""torchrl's specs and Gymnasium's spaces, one as the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.errors import UsageError
from rl2cli.spaces import Space, action_dtype, action_shape, array_dtype, leaf_shape


def space_of(spec: Any, *, one_hot: bool = False) -> Space:
    """Return the Gymnasium space of a torchrl spec without a batch.

    Args:
        spec: A plain spec.
        one_hot: Take a OneHot spec as the choice it stands for, as an action; else as its numbers.

    Raises:
        UsageError: There is no space like it.
    """
    from torchrl.data import Binary, Categorical, MultiCategorical, OneHot

    shape = tuple(spec.shape)
    if isinstance(spec, OneHot) and one_hot:
        return spaces.Discrete(int(spec.space.n))
    if isinstance(spec, MultiCategorical):
        return spaces.MultiDiscrete(np.asarray(spec.nvec.cpu()))
    if isinstance(spec, Binary) and not isinstance(spec, OneHot) and shape:
        return spaces.MultiBinary(shape)
    if isinstance(spec, Categorical):
        count = int(spec.space.n)
        return spaces.Discrete(count) if not shape else spaces.MultiDiscrete(np.full(shape, count))
    if not hasattr(spec, "space") or spec.dtype is None:
        raise UsageError(
            f"rl2 has no space for torchrl's spec {type(spec).__name__}",
            hint="it has one for Bounded, Unbounded, Categorical, MultiCategorical, OneHot and Binary",
            place="env.factory",
        )
    return _box(spec, shape)


def _box(spec: Any, shape: tuple[int, ...]) -> Space:
    image = spec.dtype == torch.uint8
    dtype: Any = np.uint8 if image else np.float32
    low: Any = 0 if image else -np.inf
    high: Any = 255 if image else np.inf
    bounds: Any = getattr(spec, "space", None)
    if hasattr(bounds, "low") and hasattr(bounds, "high"):
        low, high = (np.asarray(torch.broadcast_to(edge, shape).cpu(), dtype) for edge in (bounds.low, bounds.high))
    return spaces.Box(low, high, shape, dtype)


def spec_of(space: Space, num_envs: int, *, device: torch.device) -> Any:
    """Return the torchrl spec of N observations of a space that is counted from 0."""
    from torchrl.data import Bounded, Categorical, Composite, Unbounded

    if isinstance(space, spaces.Dict):
        parts = {key: spec_of(part, num_envs, device=device) for key, part in space.spaces.items()}
        return Composite(parts, shape=(num_envs,), device=device)
    shape, dtype = (num_envs, *leaf_shape(space)), torch.from_numpy(np.zeros(0, array_dtype(space))).dtype
    if isinstance(space, spaces.Discrete):
        return Categorical(int(space.n), shape=shape, device=device, dtype=dtype)
    if isinstance(space, spaces.Box) and space.is_bounded():
        low, high = (torch.from_numpy(np.ascontiguousarray(edge)).expand(shape) for edge in (space.low, space.high))
        return Bounded(low, high, shape=shape, device=device, dtype=dtype)
    return Unbounded(shape=shape, device=device, dtype=dtype)


def action_spec_of(space: Space, num_envs: int, *, device: torch.device) -> Any:
    """Return the torchrl spec of the numbers that an adapter's `step` takes.

    Raises:
        UsageError: torchrl has none like it.
    """
    from torchrl.data import Binary, Bounded, Categorical, MultiCategorical, Unbounded

    shape, dtype = (num_envs, *action_shape(space)), action_dtype(space)
    if isinstance(space, spaces.Discrete):
        return Categorical(int(space.n), shape=shape, device=device, dtype=dtype)
    if isinstance(space, spaces.MultiDiscrete):
        return MultiCategorical(space.nvec.reshape(-1).tolist(), shape=shape, device=device, dtype=dtype)
    if isinstance(space, spaces.MultiBinary):
        return Binary(shape[-1], shape=shape, device=device, dtype=dtype)
    if not isinstance(space, spaces.Box):
        raise UsageError(
            f"torchrl has no spec for the action space {space}",
            hint="it has one for Discrete, MultiDiscrete, MultiBinary and Box",
        )
    if not space.is_bounded():
        return Unbounded(shape=shape, device=device, dtype=dtype)
    low, high = (torch.from_numpy(np.asarray(edge, np.float32)).expand(shape) for edge in (space.low, space.high))
    return Bounded(low, high, shape=shape, device=device, dtype=dtype)
