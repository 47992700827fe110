"""The contract that every batch of environments keeps, as a checker: of the first step, and of a whole adapter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.errors import EnvironmentFault
from rl2cli.keys import ACTION_MASK, Observation, map_observation
from rl2cli.spaces import Space, allocate, leaf_shape, mask_width, observation_leaves, observation_space, sample_actions


@dataclass(frozen=True)
class Finding:
    """One way in which an adapter breaks the contract."""

    what: str
    """Name of the value, such as `reward` or `observation.camera`."""
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, got {self.got}"


def check_first_step(adapter: BaseEnvAdapter, observation: Observation, step: Step) -> None:
    """Refuse an adapter whose first observation or step has not the shapes and dtypes of the contract.

    Values outside the declared bounds are `check_adapter`'s business, as many environments leave theirs now and then;
    numbers that are not finite are the Trainer's, after each rollout.

    Raises:
        EnvironmentFault: It has not; the message has every difference.
    """
    findings = [
        *observation_findings(adapter, "observation", observation, bounds=False),
        *step_findings(adapter, step, bounds=False),
    ]
    if findings:
        raise EnvironmentFault(
            f"{type(adapter).__name__} breaks the adapter contract: {'; '.join(map(str, findings))}",
            hint="`rl2 check-env` lists everything that is wrong",
        )


def observation_findings(
    adapter: BaseEnvAdapter, name: str, observation: Observation, *, bounds: bool = True
) -> list[Finding]:
    """Return where an observation [N, *obs] differs from the adapter's space in structure, shape, dtype or bounds."""
    space = adapter.observation_space
    wanted = allocate(observation_space(space), (adapter.num_envs,))
    structure = list(_structure_findings(name, wanted, observation))
    if structure or not bounds:
        return structure
    return [
        Finding(f"{name}{''.join(f'.{key}' for key in path)}", f"values inside {leaf}", _extent(values))
        for path, leaf in observation_leaves(observation_space(space))
        if not _inside(leaf, values := _part(observation, path))
    ]


def step_findings(adapter: BaseEnvAdapter, step: Any, *, bounds: bool = True) -> list[Finding]:
    """Return where a step differs from the contract."""
    num_envs = adapter.num_envs
    if not isinstance(step, Step):
        return [Finding("step", "a Step", type(step).__name__)]
    found = observation_findings(adapter, "observation", step.observation, bounds=bounds)
    found += _tensor_findings("reward", torch.zeros(num_envs), step.reward)
    flags = torch.zeros(num_envs, dtype=torch.bool)
    found += _tensor_findings("terminated", flags, step.terminated)
    found += _tensor_findings("truncated", flags, step.truncated)
    for name, optional in (("valid", step.valid), ("life_lost", step.life_lost)):
        if optional is not None:
            found += _tensor_findings(name, flags, optional)
    if adapter.has_action_mask:
        wanted = torch.zeros(num_envs, mask_width(adapter.action_space), dtype=torch.bool)
        found += _tensor_findings(ACTION_MASK, wanted, step.info.get(ACTION_MASK))
    return found if found else _value_findings(adapter, step, finite=bounds)


def check_adapter(adapter: BaseEnvAdapter, steps: int = 200, seed: int = 0) -> list[Finding]:
    """Return every way in which a vectorised adapter, set up, breaks the contract; random actions, `steps` steps.

    Besides shapes, dtypes, bounds and finite rewards: true last observations where episodes end, the same stream from
    the same seeds, and an exact `set_state` where `resume` is not "none".
    """
    generator = np.random.default_rng(seed)
    actions = [sample_actions(adapter.action_space, adapter.num_envs, generator) for _ in range(steps)]
    seeds = np.arange(seed, seed + adapter.num_envs, dtype=np.int64)
    first, found = _walk(adapter, seeds, actions)
    if found:
        return found
    again, found = _walk(adapter, seeds, actions)
    different = _first_difference(first, again)
    if different is not None:
        found.append(Finding("seeding", "the same stream from the same seeds", f"another one from step {different}"))
    if adapter.resume != "none" and not found:
        found += _resume_findings(adapter, actions)
    return found


def _walk(adapter: BaseEnvAdapter, seeds: np.ndarray, actions: list[torch.Tensor]) -> tuple[list[bytes], list[Finding]]:
    """Return a fingerprint of the first observation and of every step, and what is wrong with them."""
    observation, info = adapter.reset(seeds)
    found = observation_findings(adapter, "observation of reset", observation)
    if adapter.has_action_mask and ACTION_MASK not in info:
        found.append(Finding("action_mask of reset", "a mask", "none"))
    stream = [] if found else [_bytes(observation)]
    waiting = torch.zeros(adapter.num_envs, dtype=torch.bool)
    for action in actions:
        if found:
            break
        before = map_observation(torch.clone, observation)
        step = adapter.step(action)
        found = step_findings(adapter, step) or _reset_findings(step, waiting)
        found = found or _stack_findings(adapter.frame_stack, before, step)
        observation = step.observation
        if not found:
            waiting = (step.terminated | step.truncated).cpu().clone()
            stream.append(_step_bytes(step))
    return stream, found


def _resume_findings(adapter: BaseEnvAdapter, actions: list[torch.Tensor]) -> list[Finding]:
    state = adapter.get_state()
    if state is None:
        return [Finding("get_state", f"a state, since resume is {adapter.resume!r}", "None")]
    onward = [_step_bytes(adapter.step(action)) for action in actions[:32]]
    try:
        adapter.set_state(state)
    except EnvironmentFault as error:
        return [Finding("set_state", "the saved observations", error.message)]
    different = _first_difference(onward, [_step_bytes(adapter.step(action)) for action in actions[:32]])
    if different is None:
        return []
    return [Finding("set_state", "the stream that followed get_state", f"another one from step {different}")]


def _reset_findings(step: Step, waiting: torch.Tensor) -> list[Finding]:
    """Check `valid`: rows may be no frame only right after an episode's end, and earn nothing then."""
    if step.valid is None:
        return []
    skipped = ~step.valid.cpu()
    if bool((skipped & ~waiting).any()):
        return [Finding("valid", "False only in the step after an episode's end", "False elsewhere")]
    if bool((skipped & ((step.reward != 0) | step.terminated | step.truncated).cpu()).any()):
        return [Finding("valid", "no reward and no end where it is False", "one")]
    return []


def _stack_findings(frame_stack: int, before: Observation, step: Step) -> list[Finding]:
    """Check that each observation's older frames are those of the one before, moved up by one."""
    if frame_stack == 1:
        return []
    if not isinstance(before, torch.Tensor) or before.shape[1:2] != (frame_stack,):
        shape = list(before.shape[1:]) if isinstance(before, torch.Tensor) else "a dict"
        return [Finding("frame_stack", f"observations whose first axis has {frame_stack} frames", str(shape))]
    ended = (step.terminated | step.truncated).flatten()
    onward = ~ended if step.valid is None else ~ended & step.valid
    for rows, following in ((onward, step.observation), (ended, step.final_observation)):
        if isinstance(following, torch.Tensor) and not torch.equal(following[rows, :-1], before[rows, 1:]):
            return [Finding("frame_stack", "older frames that move up by one in a step", "others")]
    return []


def _value_findings(adapter: BaseEnvAdapter, step: Step, *, finite: bool) -> list[Finding]:
    found = []
    if finite and not bool(torch.isfinite(step.reward).all()):
        found.append(Finding("reward", "finite numbers", str(step.reward.tolist())))
    done = step.terminated | step.truncated
    if not bool(done.any()):
        return found
    if step.final_observation is None:
        return [*found, Finding("final_observation", "the last observations of ended episodes", "None")]
    wanted = allocate(observation_space(adapter.observation_space), (adapter.num_envs,))
    return found + list(_structure_findings("final_observation", wanted, step.final_observation))


def _structure_findings(name: str, wanted: Observation, got: Any) -> Iterator[Finding]:
    if not isinstance(wanted, dict):
        yield from _tensor_findings(name, wanted, got)
    elif not isinstance(got, dict) or got.keys() != wanted.keys():
        keys = list(got) if isinstance(got, dict) else type(got).__name__
        yield Finding(name, f"a dict with the keys {list(wanted)}", str(keys))
    else:
        for key, part in wanted.items():
            yield from _structure_findings(f"{name}.{key}", part, got[key])


def _tensor_findings(name: str, wanted: torch.Tensor, got: Any) -> list[Finding]:
    if not isinstance(got, torch.Tensor):
        return [Finding(name, "a tensor", type(got).__name__)]
    if got.shape == wanted.shape and got.dtype == wanted.dtype:
        return []
    return [Finding(name, f"{wanted.dtype} {list(wanted.shape)}", f"{got.dtype} {list(got.shape)}")]


def _inside(leaf: Space, values: np.ndarray) -> bool:
    """Return whether values [N, *shape] lie in a plain space counted from 0."""
    if isinstance(leaf, spaces.Box):
        return bool(np.all((values >= leaf.low) & (values <= leaf.high)))
    size = leaf.nvec if isinstance(leaf, spaces.MultiDiscrete) else getattr(leaf, "n", 2)
    size = 2 if isinstance(leaf, spaces.MultiBinary) else size
    return bool(np.all((values >= 0) & (values < size))) and values.shape[1:] == leaf_shape(leaf)


def _part(observation: Observation, path: tuple[str | int, ...]) -> np.ndarray:
    for key in path:
        assert isinstance(observation, dict)
        observation = observation[str(key)]
    assert isinstance(observation, torch.Tensor)
    return observation.cpu().numpy()


def _extent(values: np.ndarray) -> str:
    return f"values from {values.min()} to {values.max()}"


def _bytes(observation: Observation) -> bytes:
    if isinstance(observation, dict):
        return b"".join(_bytes(part) for part in observation.values())
    return observation.cpu().contiguous().numpy().tobytes()


def _step_bytes(step: Step) -> bytes:
    numbers = [step.reward, step.terminated, step.truncated, *([] if step.valid is None else [step.valid])]
    return _bytes(step.observation) + b"".join(_bytes(tensor) for tensor in numbers)


def _first_difference(one: list[bytes], other: list[bytes]) -> int | None:
    differences = (index for index, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
    return next(differences, None)
