"""From the options of the `torchrl` backend to a torchrl `EnvBase`, and the names of what it observes."""

from __future__ import annotations

import importlib
from typing import Any

from rl2cli.envs.torchrl_options import TorchRLOptions
from rl2cli.errors import EnvironmentFault, MissingDependencyError, UsageError, suggestion
from rl2cli.registry import import_target
from rl2cli.trust import require_allowed

END_KEYS = ("terminated", "truncated", "done")


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
        raise UsageError(f"{options.factory} is no torchrl EnvBase", place="env.factory")
    try:
        env = factory(*options.args, **{**options.kwargs, **batch})
    except ImportError as error:
        needed = f"needs {error.name}" if error.name else str(error)
        hint = f"pip install {error.name}" if error.name else None
        raise MissingDependencyError(f"{options.factory} {needed}", hint=hint) from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"{options.factory} refused its arguments: {error}", place="env.args") from error
    if len(env.action_keys) != 1 or len(env.reward_keys) != 1:
        raise EnvironmentFault(f"{options.factory} has several agents: rl2 trains one")
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
        raise UsageError(f"torchrl.envs has no {name!r}", hint=near, place="env.factory")
    return getattr(module, name)
