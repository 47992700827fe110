"""Names and shapes of what the Trainer hands to `Algorithm.update`.

T is the rollout length, N the number of environments, K the number of episodes that ended in the rollout.

| key | shape | dtype |
| --- | --- | --- |
| `observation` (or a nested dict of them) | [T+1, N, *obs] | the space's |
| `action` | [T, N, *act] | int64 or float32 |
| what `act` returns besides the action | [T, N, ...] | |
| `action_mask` (where the environment has one) | [T+1, N, A] | bool |
| `reward` | [T, N, 1] | float32 |
| `terminated`, `truncated`, `done`, `valid`, `is_init` | [T, N, 1] | bool |
| `final_observation` | [K, *obs] | as `observation` |
| `final_index` | [K, 2]: the (t, n) of each | int64 |

`terminated` without `done` is a step after which the episode goes on, but learning takes it as an end: a lost life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from tensordict import TensorDict

Observation: TypeAlias = "torch.Tensor | dict[str, Observation]"
Trajectories: TypeAlias = "dict[str, Any]"

OBSERVATION = "observation"
ACTION = "action"
ACTION_LOG_PROB = "action_log_prob"
ACTION_MASK = "action_mask"
STATE_VALUE = "state_value"
REWARD = "reward"
TERMINATED = "terminated"
TRUNCATED = "truncated"
DONE = "done"
VALID = "valid"
IS_INIT = "is_init"
FINAL_OBSERVATION = "final_observation"
FINAL_INDEX = "final_index"


def map_observation(function: Any, first: Observation, *others: Observation) -> Observation:
    """Apply `function` to the tensors of one or several observations of the same structure."""
    if isinstance(first, dict):
        return {key: map_observation(function, first[key], *(other[key] for other in others)) for key in first}  # type: ignore[index]  # the others are dicts where the first is one
    return function(first, *others)  # type: ignore[no-any-return]  # whatever `function` makes of tensors


def observation_of_frames(trajectories: Trajectories) -> Observation:
    """Return what every frame began with, [M, *obs]; rows that were no frame are left out."""
    valid = trajectories[VALID].squeeze(-1)  # [T, N]
    if valid.all():  # without a copy, which images notice
        return map_observation(lambda tensor: tensor[:-1].flatten(0, 1), trajectories[OBSERVATION])
    return map_observation(lambda tensor: tensor[:-1][valid], trajectories[OBSERVATION])


def next_observation(trajectories: Trajectories) -> Observation:
    """Return the true successor of every step, [T, N, *obs]: the final observation where done, else t+1's."""
    final_index = trajectories[FINAL_INDEX]  # [K, 2]

    def successor(observation: torch.Tensor, final: torch.Tensor) -> torch.Tensor:
        following = observation[1:].clone()  # [T, N, *obs]
        following[final_index[:, 0], final_index[:, 1]] = final
        return following

    return map_observation(successor, trajectories[OBSERVATION], trajectories[FINAL_OBSERVATION])


def as_tensordict(trajectories: Trajectories) -> TensorDict:
    """Return the [T, N] part of `trajectories` as a TensorDict that shares its memory.

    `observation` is the step's own; `("next", ...)` holds reward, terminated, truncated, done and the true next
    observation, so torchrl's losses, buffers and samplers fit unchanged. Only the next observation is a copy.
    """
    from tensordict import TensorDict

    length, num_envs = trajectories[REWARD].shape[:2]
    after = (REWARD, TERMINATED, TRUNCATED, DONE)
    skipped = {FINAL_OBSERVATION, FINAL_INDEX, *after}
    root = {
        key: map_observation(lambda tensor: tensor[:length], value)
        for key, value in trajectories.items()
        if key not in skipped
    }
    following = {key: trajectories[key] for key in after}
    if (trajectories[TERMINATED] & ~trajectories[DONE]).any():  # lost lives
        following[DONE] = trajectories[DONE] | trajectories[TERMINATED]
    following[OBSERVATION] = next_observation(trajectories)
    return TensorDict({**root, "next": following}, batch_size=[length, num_envs])
