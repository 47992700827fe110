"""`rl2 register adapter`, `network`, `algorithm`, `module`: keep a name, once it is known to work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from rl2cli.cli.list import REGISTRIES
from rl2cli.cli.output import emit_json, emit_lines, note
from rl2cli.cli.parameters import AsJson
from rl2cli.errors import PluginError
from rl2cli.plugins import edit
from rl2cli.plugins.inspection import TIME_LIMIT, Inspected, inspect_plugin
from rl2cli.plugins.kept import (
    PROJECT_FILE,
    Registration,
    project_file,
    read,
    require_name,
    require_target,
    user_file,
)
from rl2cli.registry import Registry

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="What specs will call it.")]
Target: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="MODULE:CLASS", help="The module, beside rl2.toml or installed, and the class in it."),
]
User: TypeAlias = Annotated[
    bool, typer.Option("--user", help="Keep the name for you in every folder, not in the project's rl2.toml.")
]
Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Take the name from what has it now.")]
NoCheck: TypeAlias = Annotated[
    bool, typer.Option("--no-check", help="Import it and check its class, but do not build it and try it out.")
]
TimeLimit: TypeAlias = Annotated[
    float, typer.Option("--time-limit", metavar="SECONDS", help="Give up importing and trying it after so long.")
]

_USES = {
    "adapter": '[env] backend = "{name}" in a spec; `rl2 check-env {name}` shows it at work',
    "network": '[network] name = "{name}" in a spec',
    "algorithm": '[algorithm] name = "{name}" in a spec',
}


def register_adapter(
    name: Name,
    target: Target,
    user: User = False,
    force: Force = False,
    no_check: NoCheck = False,
    time_limit: TimeLimit = TIME_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Keep the name of an environment backend of yours, for every command in this project.

    It is imported and tried out first, in a process of its own.
    """
    _register("adapter", name, target, user, force, not no_check, time_limit, as_json)


def register_network(
    name: Name,
    target: Target,
    user: User = False,
    force: Force = False,
    no_check: NoCheck = False,
    time_limit: TimeLimit = TIME_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Keep the name of a network of yours, for every command in this project.

    It is imported and tried out first, in a process of its own.
    """
    _register("network", name, target, user, force, not no_check, time_limit, as_json)


def register_algorithm(
    name: Name,
    target: Target,
    user: User = False,
    force: Force = False,
    no_check: NoCheck = False,
    time_limit: TimeLimit = TIME_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Keep the name of an algorithm of yours, for every command in this project.

    It is imported and tried out first, in a process of its own.
    """
    _register("algorithm", name, target, user, force, not no_check, time_limit, as_json)


def register_module(
    module: Annotated[
        str, typer.Argument(metavar="MODULE", help="A module or package that specs may name, as in my_envs:Maze-v0.")
    ],
    user: User = False,
    time_limit: TimeLimit = TIME_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Let specs of this project have a module, and what is in it, imported without --allow-import.

    It is imported once, in a process of its own.
    """
    require_name("module", module)
    registration = _registration("module", module, module, user)
    edit.require_own(read(registration.file))
    seen = inspect_plugin("module", module, registration.folder, build=False, seconds=time_limit)
    edit.keep(registration)
    _report(registration, seen, f'id = "{module}:NAME-v0" in a spec needs no --allow-import', as_json=as_json)


def _register(
    kind: str, name: str, target: str, user: bool, force: bool, build: bool, seconds: float, as_json: bool
) -> None:
    require_name(kind, name)
    registry = next(each for each in REGISTRIES.values() if each.kind == kind)
    target = registry.absolute(target) if target.startswith(".") else target
    require_target(kind, target)
    registration = _registration(kind, name, target, user)
    edit.require_own(read(registration.file))
    _require_free(registry, registration, force)
    seen = inspect_plugin(kind, target, registration.folder, build=build, seconds=seconds)
    edit.keep(registration)
    _report(registration, seen, _USES[kind].format(name=name), as_json=as_json)


def _registration(kind: str, name: str, target: str, user: bool) -> Registration:
    """Return what will be kept: in the project's file or a new one here, or with the current folder in the user's."""
    if user:
        return Registration(kind, name, target, user_file(), _folder_with(target))
    file = project_file() or Path.cwd().resolve() / PROJECT_FILE
    return Registration(kind, name, target, file, file.parent)


def _folder_with(target: str) -> Path | None:
    """Return the current folder where the module lies in it, else None: it is an installed one."""
    here = Path.cwd().resolve()
    top = target.partition(":")[0].partition(".")[0]
    return here if (here / f"{top}.py").is_file() or (here / top).is_dir() else None


def _require_free(registry: Registry, registration: Registration, force: bool) -> None:
    """Refuse a name that is taken by something else.

    Raises:
        PluginError: It is; both are shown.
    """
    name, target = registration.name, registration.target
    for entry in registry.entries():
        if entry.name != name or (entry.target, entry.folder) == (target, _as_text(registration.folder)):
            continue
        new = f"{target} in {registration.file}"
        old = f"{entry.target}, {'which is ' if not entry.is_outside else 'kept in '}{entry.origin}"
        if not entry.is_outside:
            raise PluginError(
                f"the {registry.kind} name {name!r} is taken by {old}", hint=f"choose another for {target}"
            )
        if not force:
            raise PluginError(
                f"the {registry.kind} name {name!r} is taken:\n  now: {old}\n  new: {new}",
                hint="--force takes it for the new one; or choose another name",
            )


def _as_text(folder: Path | None) -> str | None:
    return None if folder is None else str(folder)


def _report(registration: Registration, seen: Inspected, use: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(
            {
                "kind": registration.kind,
                "name": registration.name,
                "target": registration.target,
                "file": seen.file,
                "kept_in": registration.file,
                "notes": seen.notes,
            }
        )
        return
    for text in seen.notes:
        note(f"warning: {text}")
    what = registration.target if registration.kind != "module" else "every name in it"
    emit_lines([f"{registration.kind} {registration.name}: {what}, from {seen.file}, kept in {registration.file}"])
    note(f"use it: {use}")
