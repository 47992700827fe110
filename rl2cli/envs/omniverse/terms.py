"""The built-in terms: functions of the `World`, with what they pick from it bound when a task is built.

A function of a user's own has the same form: `function(world, **params)` for observations ([N, k]), rewards ([N]) and
terminations ([N] bool), `function(start, **params)` for resets, which changes the `Start` it is given.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rl2cli.envs.omniverse.options import ObservationTerm, ResetTerm, RewardTerm, TerminationTerm, TermOptions
from rl2cli.envs.omniverse.world import World, columns_of, rotate_back, uprightness
from rl2cli.registry import import_target
from rl2cli.trust import require_allowed

Array = np.ndarray[Any, np.dtype[Any]]
Reading = Callable[[World], torch.Tensor]
Columns = slice | torch.Tensor


@dataclass
class Start:
    """How K environments begin: the scene's own pose, which reset terms change in place."""

    joint_position: torch.Tensor
    """[K, J]."""
    joint_velocity: torch.Tensor
    """[K, J]."""
    root_pose: torch.Tensor
    """[K, 7] position and orientation (x, y, z, w)."""
    root_velocity: torch.Tensor
    """[K, 6] linear and angular."""
    uniform: Callable[[int], torch.Tensor]
    """Draws [K, width] numbers from 0 to 1, which follow from each episode's seed."""


def bind_observation(term: ObservationTerm, world: World, place: str) -> Reading:
    """Return the function that reads `term`."""
    if ":" in term.term:
        observe: Reading = _own(term, "observation")
        return observe
    joints, bodies = _picked(term, world, place)
    readings: dict[str, Reading] = {
        "joint_position": lambda world: world.joint_position[:, joints],
        "joint_sine_cosine": lambda world: _sine_cosine(world.joint_position[:, joints]),
        "joint_velocity": lambda world: world.joint_velocity[:, joints],
        "root_position": lambda world: world.root_position,
        "root_height": lambda world: world.root_position[:, 2:],
        "root_orientation": lambda world: world.root_orientation,
        "root_linear_velocity": lambda world: rotate_back(world.root_orientation, world.root_linear_velocity),
        "root_angular_velocity": lambda world: rotate_back(world.root_orientation, world.root_angular_velocity),
        "projected_gravity": lambda world: _projected_gravity(world.root_orientation),
        "body_position": lambda world: world.body_position[:, bodies].flatten(1),
        "last_action": lambda world: world.last_action,
    }
    return readings[term.term]


def bind_reward(term: RewardTerm, world: World, place: str) -> Reading:
    """Return the function that reads `term`, without its weight."""
    if ":" in term.term:
        earn: Reading = _own(term, "reward")
        return earn
    joints, bodies = _picked(term, world, place)
    direction = torch.tensor(term.direction, device=world.device)
    readings: dict[str, Reading] = {
        "alive": lambda world: (~world.terminated).float(),
        "terminated": lambda world: world.terminated.float(),
        "joint_position_squared": lambda world: (world.joint_position[:, joints] - term.target).square().sum(1),
        "joint_velocity_squared": lambda world: world.joint_velocity[:, joints].square().sum(1),
        "joint_velocity_absolute": lambda world: world.joint_velocity[:, joints].abs().sum(1),
        "root_velocity": lambda world: world.root_linear_velocity @ direction,
        "root_height_squared": lambda world: (world.root_position[:, 2] - term.target).square(),
        "body_upright": lambda world: uprightness(world.body_orientation[:, bodies]).mean(1),
        "body_height": lambda world: world.body_position[:, bodies, 2].mean(1),
        "action_squared": lambda world: world.last_action.square().sum(1),
        "action_change_squared": lambda world: (world.last_action - world.previous_action).square().sum(1),
    }
    return readings[term.term]


def bind_termination(term: TerminationTerm, world: World, place: str) -> Reading:
    """Return the function that says where `term` ends episodes."""
    if ":" in term.term:
        ends: Reading = _own(term, "termination")
        return ends
    joints, bodies = _picked(term, world, place)
    low, high = term.range
    readings: dict[str, Reading] = {
        "joint_position_outside": lambda world: _outside(world.joint_position[:, joints], low, high).any(1),
        "root_height_outside": lambda world: _outside(world.root_position[:, 2], low, high),
        "body_upright_outside": lambda world: _outside(uprightness(world.body_orientation[:, bodies]), low, high).any(
            1
        ),
    }
    return readings[term.term]


def bind_reset(term: ResetTerm, world: World, place: str) -> Callable[[Start], None]:
    """Return the function that lets episodes begin as `term` says."""
    if ":" in term.term:
        begins: Callable[[Start], None] = _own(term, "reset")
        return begins
    joints, _ = _picked(term, world, place)
    low, high = term.range
    direction = torch.tensor(term.direction, device=world.device)
    change = {
        "joint_position": lambda start: _shift_columns(start.joint_position, joints, start.uniform, low, high),
        "joint_velocity": lambda start: _shift_columns(start.joint_velocity, joints, start.uniform, low, high),
        "root_position": lambda start: start.root_pose[:, :3].add_(_drawn(start, 1, low, high) * direction),
        "root_yaw": lambda start: _turn(start.root_pose, _drawn(start, 1, low, high)[:, 0]),
        "root_velocity": lambda start: start.root_velocity[:, :3].add_(_drawn(start, 1, low, high) * direction),
    }
    return change[term.term]


def episode_uniforms(base_seed: Array, episode: Array, draws: int, width: int) -> Array:
    """Return [K, width] float32 in [0, 1) that follow from each episode's base seed and number, after `draws` others.

    A counter through splitmix64 (Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators): making a
    generator for each episode would take longer than a step of the physics.
    """
    with np.errstate(over="ignore"):
        stream = _mixed(_mixed(base_seed.astype(np.uint64)) + episode.astype(np.uint64))
        counter = np.arange(draws + 1, draws + 1 + width, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits = _mixed(stream[:, None] + counter) >> np.uint64(40)
    return (bits.astype(np.float32)) * np.float32(2.0**-24)


def _mixed(numbers: Array) -> Array:
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = numbers ^ (numbers >> np.uint64(31))
    return mixed


def _picked(term: Any, world: World, place: str) -> tuple[Columns, Columns]:
    """Return the joints and bodies that `term` names, of those that it can name."""
    joints = world.find_joints(getattr(term, "joints", None), f"{place}.joints")
    bodies = world.find_bodies(getattr(term, "bodies", None), f"{place}.bodies")
    return columns_of(joints, world.device), columns_of(bodies, world.device)


def _own(term: TermOptions, kind: str) -> Any:
    """Return a user's function with its parameters."""
    require_allowed(term.term.partition(":")[0], f"the {kind} term {term.term!r}")
    return functools.partial(import_target(term.term, what=f"{kind} term"), **term.params)


def _sine_cosine(angles: torch.Tensor) -> torch.Tensor:
    return torch.cat([angles.sin(), angles.cos()], 1)


def _projected_gravity(orientation: torch.Tensor) -> torch.Tensor:
    """Return the direction of gravity [N, 3] along the root's own axes."""
    x, y, z, w = orientation.unbind(1)
    return torch.stack([2 * (w * y - x * z), -2 * (w * x + y * z), 2 * (x * x + y * y) - 1], 1)


def _outside(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return (values - (low + high) / 2).abs() > (high - low) / 2


def _drawn(start: Start, width: int, low: float, high: float) -> torch.Tensor:
    return low + (high - low) * start.uniform(width)


def _shift_columns(
    values: torch.Tensor, columns: Columns, uniform: Callable[[int], torch.Tensor], low: float, high: float
) -> None:
    values[:, columns] += low + (high - low) * uniform(values[:, columns].shape[1])


def _turn(pose: torch.Tensor, yaw: torch.Tensor) -> None:
    """Turn poses [K, 7] about the vertical by `yaw` [K]."""
    sine, cosine = (yaw / 2).sin(), (yaw / 2).cos()
    x, y, z, w = pose[:, 3:].clone().unbind(1)
    parts = [cosine * x - sine * y, cosine * y + sine * x, cosine * z + sine * w, cosine * w - sine * z]
    pose[:, 3:] = torch.stack(parts, 1)
