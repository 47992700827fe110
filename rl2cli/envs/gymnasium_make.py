"""Finding and making Gymnasium environments, with every failure explained."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rl2cli.envs.gymnasium_options import GymnasiumOptions, is_atari
from rl2cli.errors import EnvironmentFault, MissingDependencyError, RL2Error, UsageError, suggestion
from rl2cli.trust import require_allowed

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec as RegisteredSpec

_INSTALL = {
    "mujoco": "rl2cli[mujoco]",
    "jax": "gymnasium[jax]",
    "Box2D": "gymnasium[box2d]",
    "pygame": "gymnasium[classic-control]",
    "cv2": "gymnasium[other]",
    "ale_py": "ale-py",
}
"""What pip installs for a module that is missing."""

_RESERVED = {
    "render_mode": "rl2 sets it",
    "num_envs": "write it directly under [env]",
    "max_episode_steps": "write it directly under [env]",
    "disable_env_checker": "rl2 has its own checker",
    "vectorization_mode": "write vectorization directly under [env]",
    "vector_kwargs": "rl2 makes the batch",
    "wrappers": "rl2 makes the batch",
}
"""Keyword arguments of `gymnasium.make` itself, which `kwargs` cannot set."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Gymnasium's and its backends' warnings from the user's screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def find_spec(env_id: str) -> RegisteredSpec:
    """Return Gymnasium's record of `env_id`, after importing what registers it.

    Raises:
        UsageError: Nothing has this id (the hint has the nearest), or its module may not be imported.
        MissingDependencyError: The module that would register it is not installed.
    """
    from gymnasium import error
    from gymnasium.envs import registration

    module, _, name = env_id.rpartition(":")
    _register(module, name)
    try:
        with quiet():
            return registration._find_spec(name)
    except error.Error as problem:
        message = _one_line(problem).partition(" Did you mean")[0]
        raise UsageError(message, hint=_id_hint(name, str(problem)), place="env.id") from problem


def metadata_of(env_id: str) -> object:
    """Return the metadata of an environment's class before it is made, or None where it cannot be known."""
    return getattr(_creator(env_id), "metadata", None)


def make(options: GymnasiumOptions, build: Callable[..., Any], **arguments: Any) -> Any:
    """Call `build` (`gymnasium.make` or `make_vec`) with the options' id and keyword arguments.

    Raises:
        UsageError: Unknown id or keyword argument, or an argument that the environment refuses.
        MissingDependencyError: A package that the environment needs is not installed.
        EnvironmentFault: The environment's constructor raised something else.
    """
    from gymnasium import error

    for key in options.kwargs.keys() & _RESERVED.keys():
        raise UsageError(f"{key!r} cannot be among the environment's kwargs", hint=_RESERVED[key], place="env.kwargs")
    spec = find_spec(options.id)
    if options.max_episode_steps is not None:
        arguments.setdefault("max_episode_steps", options.max_episode_steps)
    try:
        with quiet():
            return build(spec, **arguments, **options.kwargs)
    except (error.DependencyNotInstalled, ImportError) as problem:
        raise missing_package(spec.id, problem) from problem
    except Exception as problem:
        raise _refused(options, spec.id, problem) from problem


def _creator(env_id: str) -> Any:
    """Return what makes a single environment, or None where it cannot be known."""
    from gymnasium.envs.registration import load_env_creator

    entry_point = find_spec(env_id).entry_point
    try:
        with quiet():
            return load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    except Exception:  # `make` meets it again, and explains it
        return None


def _register(module: str, name: str) -> None:
    from gymnasium.envs.registration import registry

    if module:
        require_allowed(module, f"the environment id '{module}:{name}'")
        _import(module)
    elif name.startswith("ALE/"):
        _import("ale_py")
    elif name not in registry and importlib.util.find_spec("ale_py") is not None:
        _import("ale_py")  # its older ids have no namespace


def _import(module: str) -> None:
    try:
        with quiet():
            imported = importlib.import_module(module)
            if module == "ale_py":  # its banner would land between our lines
                imported.ALEInterface.setLoggerMode(imported.LoggerMode.Error)
    except ModuleNotFoundError as problem:
        missing = problem.name or module
        if module != "ale_py" and (module == missing or module.startswith(f"{missing}.")):
            raise UsageError(
                f"the environment's module {module!r} is not found",
                hint="is its package installed? For a file in this folder, start rl2 with PYTHONPATH=. before it",
                place="env.id",
            ) from problem
        raise MissingDependencyError(
            f"the environment's module {module!r} needs {missing!r}, which is not installed",
            hint=_pip(missing),
            place="env.id",
        ) from problem
    except Exception as problem:
        raise UsageError(
            f"importing {module!r} raised {type(problem).__name__}: {problem}",
            hint="mend the module, or install its package anew; --debug shows the whole traceback",
            place="env.id",
        ) from problem


def _id_hint(name: str, message: str) -> str | None:
    from gymnasium.envs.registration import registry

    replacement = re.search(r"Please use `([^`]+)` instead", message)
    if replacement:
        return f"use {replacement.group(1)!r}"
    return suggestion(name, registry) or "if a package registers it, write the id as module:id"


def missing_package(env_id: str, problem: Exception) -> RL2Error:
    """Return the error for a package that `env_id` lacks, found from the import error `problem`."""
    chain = [problem, problem.__cause__, problem.__context__]
    name = next((link.name for link in chain if isinstance(link, ImportError) and link.name), None)
    if name is None:
        hint = "install what it asks for; `rl2 doctor` says what this machine has"
        return UsageError(f"{env_id}: {_one_line(problem)}", hint=hint, place="env.id")
    return MissingDependencyError(f"{env_id} needs {name!r}, which is not installed", hint=_pip(name), place="env.id")


def missing_rom(env_id: str, problem: OSError) -> UsageError:
    """Return the error for an Atari game whose ROM ale_py could not read."""
    return UsageError(
        f"the ROM of {env_id} cannot be read: {_one_line(problem)}",
        hint="the ale-py package brings the ROMs (pip install --force-reinstall ale-py); ALE_ROMS_DIR, where it is "
        "set, has to be a folder with them",
        place="env.id",
    )


def _refused(options: GymnasiumOptions, env_id: str, problem: Exception) -> RL2Error:
    unexpected = re.search(r"unexpected keyword argument '([^']+)'", str(problem))
    if isinstance(problem, TypeError) and unexpected:
        key = unexpected.group(1)
        hint = _keyword_hint(options.id, key)
        return UsageError(f"{env_id} takes no keyword argument {key!r}", hint=hint, place=f"env.kwargs.{key}")
    if options.kwargs and isinstance(problem, TypeError | ValueError | AssertionError):
        given = ", ".join(f"{key} = {value!r}" for key, value in options.kwargs.items())
        return UsageError(
            f"{env_id} refused its kwargs ({given}): {_one_line(problem)}",
            hint="change or leave out what it names; --debug shows where it did",
            place="env.kwargs",
        )
    if is_atari(options.id) and isinstance(problem, OSError):
        return missing_rom(options.id, problem)
    return EnvironmentFault(
        f"{env_id} could not be made: {type(problem).__name__}: {_one_line(problem)}",
        hint="--debug shows where in its constructor; `rl2 doctor` says what is installed here",
        place="env.id",
    )


def _keyword_hint(env_id: str, key: str) -> str:
    """Return what the environment's constructor takes in place of `key`."""
    try:
        parameters = inspect.signature(_creator(env_id)).parameters
    except (TypeError, ValueError):
        return "leave it out"
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [name for name, each in parameters.items() if each.kind in kinds and name not in {key, *_RESERVED}]
    return suggestion(key, names) or (f"leave it out; it takes {', '.join(names)}" if names else "leave it out")


def _pip(module: str) -> str:
    return f'pip install "{_INSTALL.get(module.partition(".")[0], module)}"'


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())
