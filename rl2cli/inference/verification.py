"""Whether an exported policy does what the policy does, on observations of its own environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch.overrides import TorchFunctionMode

from rl2cli.envs import make_env_adapter
from rl2cli.errors import RL2Error
from rl2cli.inference.deterministic import Port, nested_observation
from rl2cli.inference.export_formats import Runner
from rl2cli.inference.policy import Policy
from rl2cli.keys import ACTION, ACTION_MASK, Observation
from rl2cli.spaces import (
    Array,
    LeafPath,
    Space,
    action_array,
    counts_from_elsewhere,
    first_value,
    observation_leaves,
    to_backend_batch,
)
from rl2cli.training.seeding import environment_seeds, make_generator

TOLERANCE = 1e-5
"""Largest difference between numbers of actions; relative where they are larger than 1."""
NUM_ENVS, STEPS = 8, 32
_REPORT = "no file was written; please report this with the run's spec"
_COMPARISONS = (torch.gt, torch.Tensor.gt, torch.Tensor.__gt__)


@dataclass(frozen=True)
class Agreement:
    """How well an exported policy agrees with the policy."""

    observations: int
    max_difference: float
    """Between numbers of Box actions; 0 where there are none."""
    differing: int
    """Observations with another choice, each of them between two that are worth the same to `TOLERANCE`."""
    tolerance: float = TOLERANCE


def collect_inputs(policy: Policy) -> list[Array]:
    """Play the environment that `policy` was trained in, with sampled actions; return rows for each of its inputs."""
    algorithm, spec = policy.algorithm, policy.spec
    env = make_env_adapter(spec.env, num_envs=NUM_ENVS, device=algorithm.task.device, workers=0)
    explore = make_generator(spec.seed, "export", algorithm.task.device)
    rows: list[list[Array]] = []
    try:
        observation, info = env.reset(environment_seeds(spec.seed, "export", NUM_ENVS))
        for _ in range(STEPS):
            mask = info.get(ACTION_MASK)
            rows.append(list(_raw_leaves(policy.observation_space, observation)))
            rows[-1] += [] if mask is None else [mask.cpu().numpy().copy()]
            step = env.step(algorithm.act(observation, explore, mask)[ACTION])
            observation, info = step.observation, step.info
    finally:
        env.close()
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def verify(policy: Policy, run: Runner, inputs: Sequence[Array], outputs: Sequence[Port]) -> Agreement:
    """Compare the actions of `run` with those of `policy`: of all rows at once, and of the first by itself.

    Both sides get batches of the same size, as products of matrices round differently in batches of another.

    Raises:
        RL2Error: They differ.
    """
    first = [array[:1] for array in inputs]
    whole, alone = run(inputs), run(first)
    own = _Difference(_batch_of_actions(policy, inputs), whole, outputs)
    single = _Difference(
        [array[None] for array in _action_leaves(policy, [array[0] for array in inputs])], alone, outputs
    )
    largest = max(own.largest, single.largest)
    if not largest <= TOLERANCE:
        raise RL2Error(
            f"the exported policy's actions differ by {largest:.3g} from the policy's, at most {TOLERANCE:g} is right",
            hint=_REPORT,
        )
    rows = sorted({*own.rows, *single.rows})
    for row in rows:
        _require_tie(policy, [array[row : row + 1] for array in inputs], row)
    return Agreement(len(inputs[0]), largest, len(rows))


class _Difference:
    """Where two batches of actions differ: the numbers by how much, the choices in which rows."""

    def __init__(self, expected: Sequence[Array], found: Sequence[Array], ports: Sequence[Port]) -> None:
        self.largest = 0.0
        self.rows: set[int] = set()
        for one, other, port in zip(expected, found, ports, strict=True):
            if other.shape != (len(one), *port.shape) or other.dtype != port.dtype:
                raise RL2Error(
                    f"the exported {port.name} is {other.dtype} {other.shape}, not {port.dtype} {port.shape}",
                    hint=_REPORT,
                )
            if port.dtype.kind != "f":
                self.rows |= set(np.flatnonzero((one != other).reshape(len(one), -1).any(1)).tolist())
            elif one.size:
                unit = np.maximum(np.abs(one.astype(np.float64)), 1.0)
                difference = float((np.abs(one.astype(np.float64) - other) / unit).max())
                self.largest = max(self.largest, float("inf") if np.isnan(difference) else difference)


def _batch_of_actions(policy: Policy, inputs: Sequence[Array]) -> list[Array]:
    """Return the parts of the policy's own actions, as adapters of native vector environments make them."""
    tensors = map(torch.from_numpy, inputs)
    observation = nested_observation(policy.observation_space, tensors)
    action = policy.algorithm.act(observation, None, next(tensors, None))[ACTION]
    batch = to_backend_batch(policy.action_space, action_array(action))
    return [np.asarray(_follow(batch, path)) for path, _ in observation_leaves(policy.action_space)]


def _require_tie(policy: Policy, inputs: Sequence[Array], row: int) -> None:
    """Accept another choice where rounding decides between two."""
    tensors = map(torch.from_numpy, inputs)
    observation = nested_observation(policy.observation_space, tensors)
    with _Decisions() as decisions:
        policy.algorithm.act(observation, None, next(tensors, None))
    if not decisions.least_margin <= TOLERANCE:
        raise RL2Error(
            f"the exported policy chooses another action than the policy, on observation {row}",
            hint=_REPORT,
        )


class _Decisions(TorchFunctionMode):
    """Records by how much the closest choice was decided: of an argmax, or of a comparison."""

    least_margin = float("inf")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.argmax, torch.Tensor.argmax) and args[0].shape[-1] > 1:
            best = args[0].float().topk(2, -1).values
            self._note((best[..., 0] - best[..., 1]) / best[..., 0].abs().clamp(min=1.0))
        elif func in _COMPARISONS:
            self._note((args[0] - args[1]).abs())
        return result

    def _note(self, margins: torch.Tensor) -> None:
        if margins.numel():
            self.least_margin = min(self.least_margin, float(margins.min()))


def _raw_leaves(space: Space, observation: Observation) -> Iterator[Array]:
    """Yield copies of the parts of a batch, in the numbers that the environment gives."""
    for path, leaf in observation_leaves(space):
        tensor = observation
        for key in path:
            assert isinstance(tensor, dict)
            tensor = tensor[str(key)]
        assert isinstance(tensor, torch.Tensor)
        array = tensor.cpu().numpy()
        yield array + np.asarray(first_value(leaf)) if counts_from_elsewhere(leaf) else array.copy()


def _action_leaves(policy: Policy, row: Sequence[Array]) -> Iterator[Array]:
    """Yield the parts of the policy's own action for one row of inputs."""
    parts = iter(row)
    observation = _structured(policy.observation_space, parts)
    action = policy(observation, action_mask=next(parts, None))
    for path, _ in observation_leaves(policy.action_space):
        yield np.asarray(_follow(action, path))


def _structured(space: Space, parts: Iterator[Array]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _structured(part, parts) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_structured(part, parts) for part in space.spaces)
    return next(parts)


def _follow(value: Any, path: LeafPath) -> Any:
    for key in path:
        value = value[key]
    return value
