"""A trained policy as one module of tensors: what the environment observes in, what it takes as action out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.keys import ACTION, ACTION_MASK, OBSERVATION, Observation
from rl2cli.spaces import (
    ActionLeaf,
    LeafPath,
    Space,
    action_leaves,
    array_dtype,
    counts_from_elsewhere,
    first_value,
    leaf_shape,
    mask_width,
    observation_leaves,
)

_NAME_LENGTH = 64


@dataclass(frozen=True)
class Port:
    """One tensor that goes into an exported policy or comes out of it; its first axis is the batch."""

    name: str
    path: LeafPath
    """Keys and indices that lead to it in the environment's data."""
    shape: tuple[int, ...]
    """Without the batch."""
    dtype: np.dtype[np.generic]
    space: Space | None
    """What the environment declares; None for a mask."""


class DeterministicPolicy(nn.Module):
    """The deterministic actions of an algorithm, normalisation, scaling and clipping included.

    Args:
        algorithm: Its `act` is traced, with `explore = None`; it has to be tensor operations throughout.
        observation_space: As the environment declares it, without a mask.
        action_space: Likewise.
        has_action_mask: Whether the last input is a mask.
    """

    def __init__(
        self, algorithm: BaseAlgorithm, observation_space: Space, action_space: Space, *, has_action_mask: bool
    ) -> None:
        super().__init__()
        self.algorithm = algorithm
        self.inputs = input_ports(observation_space, action_space, has_action_mask=has_action_mask)
        self.outputs = output_ports(action_space)
        self._space = observation_space
        self._has_mask = has_action_mask
        self._leaves = [_ActionPart(port.space, leaf) for port, leaf in _with_leaves(self.outputs, action_space)]
        self._is_composite = isinstance(action_space, spaces.Dict | spaces.Tuple)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the action, a tensor [B, *shape] for each of `outputs`, for one tensor for each of `inputs`."""
        mask = inputs[-1] if self._has_mask else None
        observation = nested_observation(self._space, iter(inputs))
        action = self.algorithm.act(observation, None, mask)[ACTION]
        if not self._is_composite:
            return (self._leaves[0].convert(action),)
        return tuple(part.convert(part.cut(action)) for part in self._leaves)


def input_ports(observation_space: Space, action_space: Space, *, has_action_mask: bool) -> tuple[Port, ...]:
    """Return what an exported policy takes: the parts of the observation in the space's order, then the mask."""
    taken: set[str] = set()
    ports = [
        Port(_name(OBSERVATION, path, taken), path, leaf_shape(space), array_dtype(space), space)
        for path, space in observation_leaves(observation_space)
    ]
    if has_action_mask:
        ports.append(Port(ACTION_MASK, (), (mask_width(action_space),), np.dtype(np.bool_), None))
    return tuple(ports)


def output_ports(action_space: Space) -> tuple[Port, ...]:
    """Return what an exported policy gives: the parts of the action, in the dtypes that the environment declares."""
    taken: set[str] = set()
    return tuple(
        Port(_name(ACTION, path, taken), path, leaf_shape(space), np.dtype(space.dtype), space)
        for path, space in observation_leaves(action_space)
    )


class _ActionPart:
    """From a policy's numbers to one part of the environment's action; see `rl2cli.spaces.to_backend_batch`."""

    def __init__(self, space: Space | None, leaf: ActionLeaf) -> None:
        assert space is not None
        self.space, self.leaf = space, leaf
        self.shape = leaf_shape(space)
        self.dtype = torch.from_numpy(np.zeros(0, space.dtype)).dtype

    def cut(self, action: torch.Tensor) -> torch.Tensor:
        """Return this part of the flat `action` [B, width]."""
        numbers = action[:, self.leaf.start : self.leaf.start + self.leaf.width]
        return numbers if self.leaf.kind == "normal" else numbers.round().long()

    def convert(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return `numbers` as the environment takes them, [B, *shape]."""
        numbers = numbers.reshape(-1, *self.shape)
        if isinstance(self.space, spaces.Box):
            return self._clipped(self.space, numbers)
        if counts_from_elsewhere(self.space):
            numbers = numbers + torch.as_tensor(first_value(self.space))
        return numbers.to(self.dtype)

    def _clipped(self, space: spaces.Box, numbers: torch.Tensor) -> torch.Tensor:
        exact = torch.float64
        if self.dtype.is_floating_point:
            exact = self.dtype
        else:
            numbers = numbers.round()
        low, high = (torch.as_tensor(bound).to(exact) for bound in (space.low, space.high))
        return torch.minimum(torch.maximum(numbers.to(exact), low), high).to(self.dtype)


def _with_leaves(ports: Sequence[Port], action_space: Space) -> Iterator[tuple[Port, ActionLeaf]]:
    return zip(ports, action_leaves(action_space), strict=True)


def nested_observation(space: Space, tensors: Iterator[torch.Tensor]) -> Observation:
    """Return the next of `tensors`, as the environment has them, in the structure and numbers that networks see."""
    if isinstance(space, spaces.Dict):
        return {key: nested_observation(part, tensors) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return {str(index): nested_observation(part, tensors) for index, part in enumerate(space.spaces)}
    tensor = next(tensors)
    return tensor - torch.as_tensor(first_value(space)) if counts_from_elsewhere(space) else tensor


def _name(base: str, path: LeafPath, taken: set[str]) -> str:
    """Return a name that every runtime takes, not one of those `taken`, which it joins."""
    words = [re.sub(r"[^A-Za-z0-9_]", "_", str(key))[:_NAME_LENGTH] for key in path]
    name = plain = ".".join([base, *words])
    count = 1
    while name in taken:
        count += 1
        name = f"{plain}_{count}"
    taken.add(name)
    return name
