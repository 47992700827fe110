"""An environment other than the one a policy was trained in: a new level, a longer limit; the spaces stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from rl2cli.envs import make_env_adapter
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.errors import UsageError
from rl2cli.inference.policy import Policy
from rl2cli.spaces import Space, array_dtype, leaf_shape, observation_leaves
from rl2cli.spec import load_spec_dict, spec_to_dict
from rl2cli.spec.model import EnvSpec, RunSpec
from rl2cli.spec.overrides import parse_override
from rl2cli.text import shortened

NOT_OF_INFERENCE = {"num_envs": "--episodes", "workers": "rl2 itself"}
"""Keys of `[env]` without a meaning here, and what decides instead."""
_LONGEST_SPACE = 400
_HINT = "--set can change what changes neither the spaces nor the action masks"


def other_env(spec: RunSpec, overrides: Sequence[str]) -> EnvSpec:
    """Return the `[env]` of a run with `overrides`, arguments of `--set`, validated as a run's.

    Raises:
        UsageError: One sets anything but a key of `[env]`, or one that does not count here.
        SpecError: What they set is wrong.
    """
    for argument in overrides:
        _require_of_env(parse_override(argument).path, argument)
    return load_spec_dict(spec_to_dict(spec), overrides).spec.env if overrides else spec.env


def _require_of_env(path: tuple[str | int, ...], argument: str) -> None:
    place = f"--set {argument}"
    if path[0] != "env" or len(path) == 1:
        raise UsageError(
            "only keys of the environment can be set for a trained policy",
            hint="for example --set env.max_episode_steps=1000",
            place=place,
        )
    if path[1] in NOT_OF_INFERENCE:
        raise UsageError(
            f"env.{path[1]} does not count here: {NOT_OF_INFERENCE[path[1]]} decides it",
            hint="leave it out",
            place=place,
        )


def enter_other_env(policy: Policy, overrides: Sequence[str], render_mode: str | None = None) -> None:
    """Give `policy` the environment that `overrides` make in place of its own; without any, change nothing.

    Raises:
        UsageError: Its policy does not fit there.
        SpecError: What they set is wrong.
    """
    if not overrides:
        return
    spec = other_env(policy.spec, overrides)
    env = make_env_adapter(spec, num_envs=1, device=policy.algorithm.task.device, render_mode=render_mode, workers=0)
    try:
        require_same_spaces(policy, env)
    except BaseException:
        env.close()
        raise
    policy.close()
    policy.env, policy.spec = env, policy.spec.model_copy(update={"env": spec})


def require_same_spaces(policy: Policy, env: BaseEnvAdapter) -> None:
    """Check that `policy` can act in `env`: observations of the same shapes, the very same actions.

    Raises:
        UsageError: It cannot; the message has both spaces.
    """
    observation = getattr(env, "raw_space", env.observation_space)
    pairs = [
        ("observations", policy.observation_space, observation, _shape(policy.observation_space), _shape(observation)),
        ("actions", policy.action_space, env.action_space, policy.action_space, env.action_space),
    ]
    for what, trained, here, one, other in pairs:
        if one != other:
            raise UsageError(
                f"the policy does not fit this environment: its {what} are {_shown(trained)}, and here they are "
                f"{_shown(here)}",
                hint=_HINT,
                place="--set",
            )
    if policy.algorithm.task.has_action_mask != env.has_action_mask:
        message = "of the run's environment and this one, only one has action masks"
        raise UsageError(message, hint=_HINT, place="--set")


def _shape(space: Space) -> list[Any]:
    """Return what a network depends on: keys, shapes, dtypes and numbers of choices; bounds may differ."""
    return [
        (path, leaf_shape(leaf), str(array_dtype(leaf)), _choices(leaf)) for path, leaf in observation_leaves(space)
    ]


def _choices(space: Space) -> list[int]:
    if isinstance(space, spaces.Discrete):
        return [int(space.n), int(space.start)]
    if isinstance(space, spaces.MultiDiscrete):
        return [*np.ravel(space.nvec).tolist(), *np.ravel(space.start).tolist()]
    return []


def _shown(space: Space) -> str:
    return shortened(" ".join(str(space).split()), _LONGEST_SPACE)
