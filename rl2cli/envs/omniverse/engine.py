"""What steps N copies of a scene: the seam between a task and a physics engine."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from enum import IntEnum, auto

import torch

from rl2cli.errors import EnvironmentFault


class Quantity(IntEnum):
    """A number, or several, of every environment; J joints, B bodies. Quaternions are (x, y, z, w)."""

    JOINT_POSITION = auto()
    """[N, J] rad or m; read and written."""
    JOINT_VELOCITY = auto()
    """[N, J] rad/s or m/s; read and written."""
    JOINT_EFFORT = auto()
    """[N, J] N m or N, acts until it is written again; written."""
    JOINT_POSITION_TARGET = auto()
    """[N, J]; written."""
    JOINT_VELOCITY_TARGET = auto()
    """[N, J]; written."""
    JOINT_STIFFNESS = auto()
    """[N, J], pulls a joint to its position target; written."""
    JOINT_DAMPING = auto()
    """[N, J], pulls a joint to its velocity target; written."""
    ROOT_POSE = auto()
    """[N, 7] position (m) in the environment's own frame, and orientation; read and written."""
    ROOT_VELOCITY = auto()
    """[N, 6] linear (m/s) and angular (rad/s), along the axes of the world; read and written."""
    BODY_POSE = auto()
    """[N, B, 7] as ROOT_POSE; read."""


class Engine(ABC):
    """N copies of one scene with one articulation each.

    Whoever makes an engine gets it open and in the scene's own pose.
    """

    num_envs: int
    device: torch.device
    joint_names: tuple[str, ...]
    """Of the joints that can move, in the order of [N, J]."""
    body_names: tuple[str, ...]
    """In the order of [N, B]; the first is the root."""
    is_fixed: bool
    """Whether the root is held by the world, so that it has no pose of its own to write."""

    @abstractmethod
    def read(self, quantity: Quantity, into: torch.Tensor) -> None:
        """Copy what `quantity` is now into a contiguous float32 tensor of its shape, on `device`.

        Body poses follow joints and roots that were written, also before the next step.
        """

    @abstractmethod
    def write(self, quantity: Quantity, values: torch.Tensor, rows: torch.Tensor | None = None) -> None:
        """Set `quantity`.

        Args:
            quantity: Which.
            values: [N, …] float32, contiguous; those of all environments, of which `rows` count.
            rows: [K] int32, the environments that are set; None for all.
        """

    @abstractmethod
    def step(self, seconds: float, count: int) -> None:
        """Move time on by `count` steps of `seconds` each."""

    @abstractmethod
    def close(self) -> None:
        """Release everything; may be called more than once."""


def grid(count: int, spacing: float, device: torch.device) -> torch.Tensor:
    """Return where environments stand, [N, 3] m; the first at the world's origin."""
    side = math.ceil(math.sqrt(count))
    index = torch.arange(count, device=device)
    places = torch.zeros(count, 3, device=device)
    places[:, 0], places[:, 1] = (index % side) * spacing, (index // side) * spacing
    return places


def require_one_each(found: int, num_envs: int) -> None:
    """Check that there is one articulation in each environment.

    Raises:
        EnvironmentFault: There are more or fewer.
    """
    if found != num_envs:
        raise EnvironmentFault(
            f"PhysX found {found} articulations in {num_envs} environments",
            hint="every environment is to have the one that articulation under [env] names",
            place="env.articulation",
        )
