"""A task as the run spec declares it: its terms bound to a world, computed for all environments at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rl2cli.envs.omniverse import terms
from rl2cli.envs.omniverse.engine import Engine, Quantity
from rl2cli.envs.omniverse.options import ActionOptions, OmniverseOptions, RewardTerm
from rl2cli.envs.omniverse.starts import Starts
from rl2cli.envs.omniverse.world import World, columns_of
from rl2cli.errors import EnvironmentFault, NonFiniteError, UsageError

Array = np.ndarray[Any, np.dtype[Any]]

_TARGETS = {
    "effort": Quantity.JOINT_EFFORT,
    "position": Quantity.JOINT_POSITION_TARGET,
    "velocity": Quantity.JOINT_VELOCITY_TARGET,
}

_TERM_HINT = "it is called once for all environments; what a World has is [N, …] too"


class Task:
    """Actions, observations, rewards, ends and beginnings of N environments.

    Args:
        options: As declared.
        engine: Steps the environments; in the scene's own pose.
    """

    def __init__(self, options: OmniverseOptions, engine: Engine) -> None:
        self._engine = engine
        names = World(engine, 0, 0.0)
        groups = [
            names.find_joints(action.joints, f"env.actions.{index}.joints")
            for index, action in enumerate(options.actions)
        ]
        self.num_actions = sum(len(joints) for joints in groups)
        self.world = world = World(engine, self.num_actions, options.dt * options.decimation)
        self._actuators = _actuators(options.actions, groups, engine)
        self._observations = [
            (terms.bind_observation(term, world, f"env.observations.{index}"), term.scale)
            for index, term in enumerate(options.observations)
        ]
        self._rewards = [
            (term, terms.bind_reward(term, world, f"env.rewards.{index}")) for index, term in enumerate(options.rewards)
        ]
        self._terminations = [
            terms.bind_termination(term, world, f"env.terminations.{index}")
            for index, term in enumerate(options.terminations)
        ]
        _require_movable(options, engine)
        resets = [terms.bind_reset(term, world, f"env.resets.{index}") for index, term in enumerate(options.resets)]
        self._starts = Starts(world, resets, moves_root=not engine.is_fixed)
        self._written = {quantity: values.clone() for quantity, values in self._starts.home.items()}
        self.width = self._check()

    def act(self, action: torch.Tensor) -> None:
        """Hand actions [N, A] to the joints, cut to ±1."""
        world = self.world
        world.previous_action.copy_(world.last_action)
        torch.clamp(action, -1.0, 1.0, out=world.last_action)
        for quantity, (joints, columns, scale, offset, values) in self._actuators.items():
            values[:, joints] = world.last_action[:, columns] * scale + offset
            self._engine.write(quantity, values)

    def observe(self, into: torch.Tensor) -> None:
        """Write what the policy sees now into [N, width]."""
        start = 0
        for read, scale in self._observations:
            values = read(self.world)
            stop = start + values.shape[1]
            torch.mul(values, scale, out=into[:, start:stop])
            start = stop

    def reward(self, into: torch.Tensor) -> None:
        """Write the weighted sum of the reward terms into [N].

        Raises:
            NonFiniteError: A term is NaN or infinite; the message names it and the environment.
        """
        into.zero_()
        for term, read in self._rewards:
            into.add_(read(self.world), alpha=term.weight)
        if not bool(torch.isfinite(into.sum())):
            self._find_infinite()

    def terminate(self, into: torch.Tensor) -> None:
        """Write where an episode ends into [N] bool."""
        into.zero_()
        for ends in self._terminations:
            into |= ends(self.world)

    def begin(self, rows: torch.Tensor, base_seeds: Array, episodes: Array) -> None:
        """Put environments to the beginning of an episode.

        Args:
            rows: [K] int64.
            base_seeds: [N] int64 of all environments.
            episodes: [N] int64, the numbers of their episodes.
        """
        short = rows.to(torch.int32)
        for quantity, values in self._starts.take(rows, base_seeds, episodes).items():
            written = self._written[quantity]
            written[rows] = values
            self._engine.write(quantity, written, short)
        for tensor in (self.world.last_action, self.world.previous_action, self.world.episode_step):
            tensor[rows] = 0
        self.world.changed()

    def _check(self) -> int:
        """Call every term once; return the width of an observation.

        Raises:
            EnvironmentFault: A function of the user's raised, or returned something else than it should.
        """
        count = self.world.num_envs
        width = 0
        for index, (read, _) in enumerate(self._observations):
            values = _called(read, self.world, f"env.observations.{index}")
            if values.ndim != 2 or len(values) != count:
                raise _misshapen(f"env.observations.{index}", values, f"[{count}, k]")
            width += values.shape[1]
        for index, (_, read) in enumerate(self._rewards):
            values = _called(read, self.world, f"env.rewards.{index}")
            if tuple(values.shape) != (count,):
                raise _misshapen(f"env.rewards.{index}", values, f"[{count}]")
        for index, ends in enumerate(self._terminations):
            values = _called(ends, self.world, f"env.terminations.{index}")
            if tuple(values.shape) != (count,) or values.dtype != torch.bool:
                raise _misshapen(f"env.terminations.{index}", values, f"[{count}] bool")
        return width

    def _find_infinite(self) -> None:
        for term, read in self._rewards:
            values = read(self.world)
            wrong = ~torch.isfinite(values)
            if bool(wrong.any()):
                index = int(wrong.nonzero()[0])
                raise NonFiniteError(
                    f"the reward term {term.term!r} is {float(values[index])} in environment {index}, at step "
                    f"{int(self.world.episode_step[index])} of its episode",
                    hint="where the physics itself has failed, a smaller dt or smaller efforts help",
                    place=f"env.rewards.{self._number_of(term)}",
                )

    def _number_of(self, term: RewardTerm) -> int:
        return next(index for index, (each, _) in enumerate(self._rewards) if each is term)


Columns = slice | torch.Tensor
Actuator = tuple[Columns, Columns, torch.Tensor, torch.Tensor, torch.Tensor]


def _actuators(actions: list[ActionOptions], groups: list[list[int]], engine: Engine) -> dict[Quantity, Actuator]:
    """Return joints, columns of the action, scale, offset and the values to write, by quantity; gains are set."""
    count, joints, device = engine.num_envs, len(engine.joint_names), engine.device
    taken: set[int] = set()
    parts: dict[Quantity, list[tuple[list[int], list[int], ActionOptions]]] = {}
    start = 0
    for index, (action, group) in enumerate(zip(actions, groups, strict=True)):
        twice = taken.intersection(group)
        if twice:
            names = ", ".join(engine.joint_names[joint] for joint in sorted(twice))
            raise UsageError(
                f"two [[env.actions]] move the joint {names}",
                hint="leave it to one of them: `joints` takes names and patterns",
                place=f"env.actions.{index}.joints",
            )
        taken.update(group)
        columns = list(range(start, start + len(group)))
        start += len(group)
        parts.setdefault(_TARGETS[action.target], []).append((group, columns, action))
    _set_gains([part for several in parts.values() for part in several], engine)
    return {
        quantity: (
            columns_of([joint for group, _, _ in several for joint in group], device),
            columns_of([column for _, columns, _ in several for column in columns], device),
            torch.tensor([action.scale for group, _, action in several for _ in group], device=device),
            torch.tensor([action.offset for group, _, action in several for _ in group], device=device),
            torch.zeros(count, joints, device=device),
        )
        for quantity, several in parts.items()
    }


def _set_gains(parts: list[tuple[list[int], list[int], ActionOptions]], engine: Engine) -> None:
    """Write stiffness and damping where the options have them; other joints keep the scene's."""
    for name, quantity in (("stiffness", Quantity.JOINT_STIFFNESS), ("damping", Quantity.JOINT_DAMPING)):
        given = [(group, getattr(action, name)) for group, _, action in parts if getattr(action, name) is not None]
        if not given:
            continue
        values = torch.zeros(engine.num_envs, len(engine.joint_names), device=engine.device)
        engine.read(quantity, values)
        for group, gain in given:
            values[:, group] = gain
        engine.write(quantity, values)


def _require_movable(options: OmniverseOptions, engine: Engine) -> None:
    """Refuse reset terms that move a root which the scene holds in place."""
    for index, term in enumerate(options.resets):
        if engine.is_fixed and term.term.startswith("root_"):
            raise UsageError(
                f"{term.term!r} moves the root, which the scene holds in place",
                hint="leave it out; joint_position and joint_velocity let such a scene begin elsewhere",
                place=f"env.resets.{index}.term",
            )


def _called(read: Callable[[World], torch.Tensor], world: World, place: str) -> torch.Tensor:
    try:
        values = read(world)
    except Exception as error:
        name = read.func.__name__ if isinstance(read, functools.partial) else place
        raise EnvironmentFault(
            f"the term {name} raised {type(error).__name__}: {error}",
            hint="mend the function; --debug shows the whole traceback",
            place=place,
        ) from error
    if not isinstance(values, torch.Tensor):
        raise EnvironmentFault(
            f"a term should return a tensor, not {type(values).__name__}", hint=_TERM_HINT, place=place
        )
    return values


def _misshapen(place: str, values: torch.Tensor, wanted: str) -> EnvironmentFault:
    got = f"{list(values.shape)} {str(values.dtype).removeprefix('torch.')}"
    return EnvironmentFault(f"a term should return {wanted}, not {got}", hint=_TERM_HINT, place=place)
