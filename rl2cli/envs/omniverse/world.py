"""What the terms of a task see of N environments, read from the engine when it is first asked for."""

from __future__ import annotations

import fnmatch
import re

import torch

from rl2cli.envs.omniverse.engine import Engine, Quantity
from rl2cli.errors import UsageError, suggestion


class World:
    """N environments as they are now; every tensor holds until the next step.

    Args:
        engine: Steps them.
        num_actions: Numbers in an action.
        seconds: Time of a frame.
    """

    def __init__(self, engine: Engine, num_actions: int, seconds: float) -> None:
        count, joints, bodies = engine.num_envs, len(engine.joint_names), len(engine.body_names)
        self.num_envs, self.device, self.seconds = count, engine.device, seconds
        self.joint_names, self.body_names = engine.joint_names, engine.body_names
        self.last_action = torch.zeros(count, num_actions, device=self.device)
        """[N, A] the newest action, within ±1; zeros when an episode begins."""
        self.previous_action = torch.zeros_like(self.last_action)
        """[N, A] the one before."""
        self.episode_step = torch.zeros(count, dtype=torch.int64, device=self.device)
        """[N] frames of the running episodes."""
        self.terminated = torch.zeros(count, dtype=torch.bool, device=self.device)
        """[N] whether the newest frame ended the episode."""
        self._engine = engine
        shapes = {
            Quantity.JOINT_POSITION: (joints,),
            Quantity.JOINT_VELOCITY: (joints,),
            Quantity.ROOT_POSE: (7,),
            Quantity.ROOT_VELOCITY: (6,),
            Quantity.BODY_POSE: (bodies, 7),
        }
        self._values = {each: torch.zeros(count, *shape, device=self.device) for each, shape in shapes.items()}
        self._fresh: set[Quantity] = set()

    @property
    def joint_position(self) -> torch.Tensor:
        """[N, J] rad or m."""
        return self._read(Quantity.JOINT_POSITION)

    @property
    def joint_velocity(self) -> torch.Tensor:
        """[N, J] rad/s or m/s."""
        return self._read(Quantity.JOINT_VELOCITY)

    @property
    def root_position(self) -> torch.Tensor:
        """[N, 3] m, in each environment's own frame."""
        return self._read(Quantity.ROOT_POSE)[:, :3]

    @property
    def root_orientation(self) -> torch.Tensor:
        """[N, 4] quaternion (x, y, z, w)."""
        return self._read(Quantity.ROOT_POSE)[:, 3:]

    @property
    def root_linear_velocity(self) -> torch.Tensor:
        """[N, 3] m/s along the axes of the world."""
        return self._read(Quantity.ROOT_VELOCITY)[:, :3]

    @property
    def root_angular_velocity(self) -> torch.Tensor:
        """[N, 3] rad/s about the axes of the world."""
        return self._read(Quantity.ROOT_VELOCITY)[:, 3:]

    @property
    def body_position(self) -> torch.Tensor:
        """[N, B, 3] m, in each environment's own frame."""
        return self._read(Quantity.BODY_POSE)[..., :3]

    @property
    def body_orientation(self) -> torch.Tensor:
        """[N, B, 4] quaternions (x, y, z, w)."""
        return self._read(Quantity.BODY_POSE)[..., 3:]

    @property
    def body_pose(self) -> torch.Tensor:
        """[N, B, 7] position and orientation."""
        return self._read(Quantity.BODY_POSE)

    def changed(self) -> None:
        """Forget what was read: the engine has moved on."""
        self._fresh.clear()

    def find_joints(self, patterns: list[str] | None, place: str) -> list[int]:
        """Return the indices of joints that fit any of `patterns`, in the engine's order; of all for None.

        Raises:
            UsageError: A pattern fits none; the hint has what there is.
        """
        return self._find("joint", self.joint_names, patterns, place)

    def find_bodies(self, patterns: list[str] | None, place: str) -> list[int]:
        """Return the indices of bodies; see `find_joints`."""
        return self._find("body", self.body_names, patterns, place)

    def _find(self, kind: str, names: tuple[str, ...], patterns: list[str] | None, place: str) -> list[int]:
        found: set[int] = set()
        for pattern in ["*"] if patterns is None else patterns:
            fitting = [index for index, name in enumerate(names) if fnmatch.fnmatchcase(name, pattern)]
            if not fitting and patterns is not None:
                near = suggestion(re.sub(r"[*?\[\]]", "", pattern), names)
                there = f"there are: {', '.join(names) or 'none'}"
                hint = f"{near} {there}" if near else there
                raise UsageError(f"no {kind} of the scene fits {pattern!r}", hint=hint, place=place)
            found.update(fitting)
        return sorted(found)

    def _read(self, quantity: Quantity) -> torch.Tensor:
        values = self._values[quantity]
        if quantity not in self._fresh:
            self._engine.read(quantity, values)
            self._fresh.add(quantity)
        return values


def columns_of(indices: list[int], device: torch.device) -> slice | torch.Tensor:
    """Return `indices`, ascending, as what picks columns: a slice where they lie side by side, which copies nothing."""
    if indices and indices[-1] - indices[0] == len(indices) - 1:
        return slice(indices[0], indices[-1] + 1)
    return torch.tensor(indices, dtype=torch.int64, device=device)


def rotate_back(orientation: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Return world vectors [N, 3] along the axes of bodies with orientations [N, 4] (x, y, z, w)."""
    axis, real = orientation[:, :3], orientation[:, 3:]
    turned = 2.0 * torch.linalg.cross(axis, vectors)
    rotated: torch.Tensor = vectors - real * turned + torch.linalg.cross(axis, turned)
    return rotated


def uprightness(orientation: torch.Tensor) -> torch.Tensor:
    """Return the height [...] of bodies' own z axes for orientations [..., 4]: 1 upright, -1 upside down."""
    height: torch.Tensor = 1.0 - 2.0 * (orientation[..., 0].square() + orientation[..., 1].square())
    return height
