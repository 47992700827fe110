"""From the name of a task to its configuration, with what the spec says about it."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from rl2cli.envs.isaac.options import IsaacOptions
from rl2cli.envs.isaac.overrides import apply_overrides
from rl2cli.errors import UsageError, nearest
from rl2cli.registry import import_target
from rl2cli.trust import require_allowed

_ENTRY = "env_cfg_entry_point"
_PHYSICS_PRESETS = {"ovphysx": "ovphysx", "newton_mjwarp": "newton_mjwarp", "isaacsim": "isaacsim_physx"}
_PHYSICS_CLASSES = {"ovphysx": "OvPhysxCfg", "newton_mjwarp": "NewtonCfg", "isaacsim": "PhysxCfg"}
_RENDERERS = {"newton": "newton_renderer", "ovrtx": "ovrtx", "isaacsim": "isaacsim_rtx"}
_ASSETS = (".usd", ".usda", ".usdc", ".usdz", ".urdf", ".jit", ".pt")


class Task(NamedTuple):
    """A task, ready to be made."""

    name: str
    configuration: Any
    entry_point: Any
    """What makes the environment: a class, or `"module:Class"`."""
    launcher_physics: str | None
    """What Isaac Lab's launcher is to put in the place of the task's physics; None where a preset has done it."""


def load_task(options: IsaacOptions) -> Task:
    """Return the task of `options` with presets chosen and settings changed; Isaac Lab must be importable.

    Raises:
        UsageError: There is no such task, preset or setting, or the task cannot be trained by one agent.
    """
    name, configuration, entry_point = _own_task(options.id) if ":" in options.id else _registered_task(options.id)
    configuration = _with_presets(name, configuration, options)
    _require_single_agent(name, configuration)
    apply_overrides(configuration, options.config)
    physics = options.physics
    fits = type(configuration.sim.physics).__name__ == _PHYSICS_CLASSES.get(physics)
    return Task(name, configuration, entry_point, None if fits else _PHYSICS_PRESETS[physics])


def task_names() -> list[str]:
    """Return the ids of every task that Isaac Lab registers, sorted."""
    import gymnasium

    importlib.import_module("isaaclab_tasks")
    return sorted(name for name, spec in gymnasium.registry.items() if _ENTRY in (spec.kwargs or {}))


def asset_files(configuration: Any) -> list[str]:
    """Return the files that a configuration names, each once."""
    return list(dict.fromkeys(_files(configuration, set())))


def _registered_task(wanted: str) -> tuple[str, Any, Any]:
    """Return the name, configuration and entry point of a registered task."""
    import gymnasium

    known = task_names()
    name = next((each for each in (wanted, wanted.removesuffix("-v0"), f"{wanted}-v0") if each in known), None)
    if name is None:
        near = nearest(wanted.removesuffix("-v0"), known)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "rl2cli/README.md lists them"
        raise UsageError(f"Isaac Lab has no task {wanted!r}", hint=hint, place="env.id")
    spec = gymnasium.spec(name)
    target = spec.kwargs[_ENTRY]
    made = import_target(target, what=f"configuration of {name}") if isinstance(target, str) else target
    return name, made(), spec.entry_point


def _own_task(target: str) -> tuple[str, Any, Any]:
    """Return a user's own configuration, which names the class of its environment or is a manager-based one."""
    require_allowed(target.partition(":")[0], f"the configuration class {target!r}")
    made = import_target(target, what="configuration class")
    if not isinstance(made, type) or not hasattr(made, "__dataclass_fields__"):
        raise UsageError(
            f"{target} is no configuration class of Isaac Lab",
            hint="name a class with @configclass, derived from DirectRLEnvCfg or ManagerBasedRLEnvCfg",
            place="env.id",
        )
    configuration = made()
    own = getattr(configuration, "class_type", None)
    if own is None and not hasattr(configuration, "rewards"):
        raise UsageError(
            f"{target} does not say which environment it is for",
            hint="a direct task's configuration has `class_type`, the environment's class",
            place="env.id",
        )
    return target, configuration, own or "isaaclab.envs:ManagerBasedRLEnv"


def _with_presets(name: str, configuration: Any, options: IsaacOptions) -> Any:
    from isaaclab_tasks.utils import resolve_presets
    from isaaclab_tasks.utils.hydra import collect_presets

    known = {preset for fields in collect_presets(configuration).values() for preset in fields}
    there = f"there are: {', '.join(sorted(known - {'default'}))}" if known else "it has none"
    for preset in options.presets:
        if preset not in known:
            near = nearest(preset, known)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else there
            raise UsageError(f"{name} has no preset {preset!r}", hint=hint, place="env.presets")
    renderer = () if options.renderer == "auto" else (_RENDERERS[options.renderer],)
    if renderer and renderer[0] not in known:
        hint = 'leave renderer out: "auto" is the task\'s own'
        raise UsageError(f"{name} has no camera whose renderer can be chosen", hint=hint, place="env.renderer")
    physics = (_PHYSICS_PRESETS[options.physics],)
    try:
        return resolve_presets(configuration, selected=(*physics, *renderer, *options.presets)) or configuration
    except ValueError as error:
        raise UsageError(f"{name}: {error}", hint=f"other presets, or none; {there}", place="env.presets") from error


def _require_single_agent(name: str, configuration: Any) -> None:
    if hasattr(configuration, "possible_agents"):
        raise UsageError(f"{name} has several agents: rl2 trains one", hint="choose a task of one", place="env.id")
    if not hasattr(configuration, "sim") or not hasattr(configuration, "scene"):
        raise UsageError(
            f"{name} has no `sim` and `scene`: it configures no environment",
            hint="name the environment's own configuration class, not a part of it",
            place="env.id",
        )


def _files(part: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(part, str):
        if part.lower().endswith(_ASSETS):
            yield str(part)
        return
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, dict):
        inside = list(part.values())
    elif isinstance(part, list | tuple):
        inside = list(part)
    elif hasattr(part, "__dataclass_fields__"):
        with contextlib.suppress(TypeError):
            inside = list(vars(part).values())
    else:
        return
    for each in inside:
        yield from _files(each, seen)
