"""From the options of the `torchrl` backend to a torchrl `EnvBase`, and the names of what it observes."""

from __future__ import annotations

import importlib
from typing import Any

from rl2cli.envs.torchrl_options import TorchRLOptions
from rl2cli.errors import EnvironmentFault, MissingDependencyError, UsageError, suggestion
from rl2cli.registry import import_target
from rl2cli.trust import require_allowed

END_KEYS = ("terminated", "truncated", "done")

_CLASSES = "name a class of torchrl.envs, such as GymEnv or DMControlEnv, or module:Class of an EnvBase"


def build_torchrl(options: TorchRLOptions, batch: dict[str, Any]) -> Any:
    """Return the `EnvBase` that `options` name, with the keyword arguments `batch` besides theirs.

    Raises:
        UsageError: There is no such class, or it refuses its arguments.
        MissingDependencyError: The package that it wraps is not installed.
        EnvironmentFault: It has several agents.
    """
    from torchrl.envs import EnvBase

    factory = _factory(options.factory)
    if not (isinstance(factory, type) and issubclass(factory, EnvBase)):
        raise UsageError(
            f"{options.factory} is no torchrl EnvBase",
            hint=_CLASSES,
            place="env.factory",
        )
    try:
        env = factory(*options.args, **{**options.kwargs, **batch})
    except ImportError as error:
        needed = f"needs {error.name}" if error.name else str(error)
        hint = f"pip install {error.name}" if error.name else "install what it asks for"
        raise MissingDependencyError(f"{options.factory} {needed}", hint=hint, place="env.factory") from error
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{options.factory} refused its arguments: {error}",
            hint="it gets args and kwargs of [env]; --debug shows where it refused them",
            place="env.args",
        ) from error
    if len(env.action_keys) != 1 or len(env.reward_keys) != 1:
        raise EnvironmentFault(
            f"{options.factory} has several agents: rl2 trains one",
            hint="choose an environment with one action and one reward",
            place="env.factory",
        )
    return env


def dotted(key: Any) -> str:
    """Return a key of a TensorDict as one name."""
    return ".".join(key if isinstance(key, tuple) else (key,))


def _factory(name: str) -> Any:
    if ":" in name:
        require_allowed(name.partition(":")[0], f"the torchrl factory {name!r}")
        return import_target(name, what="torchrl factory")
    module = importlib.import_module("torchrl.envs")
    if not hasattr(module, name):
        near = suggestion(name, [each for each in dir(module) if each.endswith("Env")])
        raise UsageError(f"torchrl.envs has no {name!r}", hint=near or _CLASSES, place="env.factory")
    return getattr(module, name)
