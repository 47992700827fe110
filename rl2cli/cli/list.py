"""`rl2 list`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from rl2cli.cli.environments import FAMILIES, environments, is_importable
from rl2cli.cli.output import emit, emit_json, note
from rl2cli.cli.spec_text import opening_comment
from rl2cli.errors import UsageError, suggestion
from rl2cli.plugins.lookup import problems
from rl2cli.registry import BUILT_IN, Entry, Registry, adapters, algorithms, networks
from rl2cli.text import printable

if TYPE_CHECKING:  # Typer gives them, where it takes over
    import typer

    from rl2cli.cli.parameters import AsJson

REGISTRIES = {"algorithms": algorithms, "networks": networks, "adapters": adapters}
KINDS = (*REGISTRIES, "families", "environments", "specs", "runs")
ON_REQUEST = ("environments", "runs")
"""Kinds that are listed only where they are named."""


class _Name(NamedTuple):
    name: str
    summary: str = ""


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]", help=f"One of {', '.join(KINDS)}; all but environments and runs where left out."
        ),
    ] = None,
    containing: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT]", help="Only names that contain this, in any case; of runs, also of their parts."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the names that a run spec and the command line can use, or the runs under outputs, newest first."""
    if kind is not None and kind not in KINDS:
        near = suggestion(kind, KINDS)
        raise UsageError(f"rl2 has no list of {kind!r}", hint=near or f"there are: {', '.join(KINDS)}")
    if kind == "runs":
        from rl2cli.cli.list_runs import list_runs

        return list_runs(containing or "", as_json=as_json)
    for problem in problems():
        note(f"warning: {problem}")
    chosen = [kind] if kind is not None else [one for one in KINDS if one not in ON_REQUEST]
    found = {one: _matching(_names(one), containing or "") for one in chosen}
    if as_json:
        emit_json({one: [name._asdict() for name in names] for one, names in found.items()})
    elif kind is not None:
        emit("\n".join(_lines(found[kind])))
    else:
        emit("\n\n".join("\n".join([one, *(f"  {line}" for line in _lines(names))]) for one, names in found.items()))


def _names(kind: str) -> list[_Name]:
    if kind in REGISTRIES:
        return [_plugin(REGISTRIES[kind], entry) for entry in REGISTRIES[kind].entries()]
    if kind == "families":
        return [_Name(family.name, family.summary) for family in FAMILIES]
    if kind == "environments":
        own = [entry for entry in adapters.entries() if entry.origin != BUILT_IN]
        return [*map(_Name._make, environments()), *(_Name(entry.name, "a backend of its own") for entry in own)]
    from rl2cli.spec.shipped import shipped_folder, shipped_specs

    folder = shipped_folder().parent
    return [_Name(path, opening_comment((folder / path).read_text(encoding="utf-8"))) for path in shipped_specs()]


def _plugin(registry: Registry, entry: Entry) -> _Name:
    if not entry.is_outside:
        return _Name(entry.name, entry.summary or f"{entry.target} ({entry.origin})")
    where = printable(f"{entry.target}, {shown_origin(entry)}")
    if _is_gone(entry):
        return _Name(entry.name, f"its module is not there any more ({where})")
    if not entry.trusted:
        return _Name(entry.name, f"not trusted, see `rl2 register trust` ({where})")
    summary = registry.summary(entry)
    return _Name(entry.name, f"{summary} ({where})" if summary else where)


def _is_gone(entry: Entry) -> bool:
    """Return whether the module of a plugin cannot be found, as far as that is known without importing anything."""
    module = entry.target.partition(":")[0].partition(".")[0]
    beside = [] if entry.folder is None else [Path(entry.folder, f"{module}.py"), Path(entry.folder, module)]
    return not any(path.exists() for path in beside) and not is_importable(module)


def shown_origin(entry: Entry) -> str:
    """Return where a name is kept, a file below or above the current folder as one would type it."""
    path = Path(entry.origin)
    if not path.is_absolute():
        return entry.origin
    with suppress(ValueError, OSError):
        return os.path.relpath(path) if len(os.path.relpath(path)) < len(str(path)) else str(path)
    return entry.origin


def _matching(names: list[_Name], text: str) -> list[_Name]:
    return [name for name in names if text.casefold() in name.name.casefold()]


def _lines(names: list[_Name]) -> list[str]:
    width = max((len(name.name) for name in names), default=0)
    return [f"{name.name:<{width}}  {name.summary}".rstrip() for name in names]
