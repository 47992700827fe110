"""`rl2 register list`, `remove` and `trust`: what is kept, and on whose word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rl2cli.cli.list import REGISTRIES
from rl2cli.cli.output import emit, emit_json, note
from rl2cli.errors import UsageError, suggestion
from rl2cli.plugins import edit
from rl2cli.plugins.grants import is_trusted, trust
from rl2cli.plugins.kept import PROJECT_FILE, TABLES, Kept, Registration, project_file, read, user_file
from rl2cli.plugins.lookup import kept_files

if TYPE_CHECKING:  # Typer gives them, where it takes over
    import typer

    from rl2cli.cli.parameters import AsJson

_FORMS = (
    "rl2 register adapter NAME MODULE:CLASS     the same as rl2 register-adapter",
    "rl2 register network NAME MODULE:CLASS",
    "rl2 register algorithm NAME MODULE:CLASS",
    "rl2 register module MODULE                 let specs name what is in it",
    "rl2 register list                          what is registered, and where",
    "rl2 register remove NAME                   forget a name",
    "rl2 register trust                         rely on a project's rl2.toml from elsewhere",
)


def register() -> None:
    """Keep names of plugins; this shows the forms of the command, and each has its own --help."""
    emit("\n".join(_FORMS))


def list_registered(as_json: AsJson = False) -> None:
    """List every registered name, with its module, the file it is kept in, and whether that is trusted."""
    files = kept_files()
    for problem in [problem for kept, _ in files for problem in kept.problems]:
        note(f"warning: {problem}")
    brought = [
        (entry.origin, registry.kind, entry.name, entry.target)
        for registry in REGISTRIES.values()
        for entry in registry.entries()
        if entry.is_outside and entry.trusted and not Path(entry.origin).is_absolute() and entry.origin != "yours"
    ]
    if as_json:
        return _emit_json(files, brought)
    sections = [lines for kept, trusted in files if (lines := _section(kept, trusted))]
    packages = dict.fromkeys(origin for origin, *_ in brought)
    sections += [
        [f"{package} (installed)", *(_line(*rest) for origin, *rest in brought if origin == package)]
        for package in packages
    ]
    emit("\n\n".join("\n".join(section) for section in sections) or "nothing is registered; `rl2 register` shows how")


def _section(kept: Kept, trusted: bool) -> list[str]:
    if not kept.registrations:
        return []
    state = "" if trusted else " (not trusted: nothing of it is imported; read it, then `rl2 register trust`)"
    lines = [_line(each.kind, each.name, "*" if each.kind == "module" else each.target) for each in kept.registrations]
    return [f"{kept.file}{state}", *lines]


def _line(kind: str, name: str, target: str) -> str:
    return f"  {kind:<10} {name:<20} {target}"


def _emit_json(files: list[tuple[Kept, bool]], brought: list[tuple[str, str, str, str]]) -> None:
    names = [
        {"kind": each.kind, "name": each.name, "target": each.target, "origin": str(kept.file), "trusted": trusted}
        for kept, trusted in files
        for each in kept.registrations
    ]
    keys = ("origin", "kind", "name", "target")
    names += [{**dict(zip(keys, each, strict=True)), "trusted": True} for each in brought]
    emit_json({"registered": names})


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered name, or a granted module.")],
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="adapter, network, algorithm or module, where several.")
    ] = None,
    user: Annotated[bool, typer.Option("--user", help="Only the one kept for you in every folder.")] = False,
) -> None:
    """Forget a registered name; the code that it stands for stays where it is."""
    if kind is not None and kind not in TABLES:
        raise UsageError(f"there is no kind {kind!r}", hint=f"there are: {', '.join(TABLES)}")
    files = [user_file()] if user else [file for file in (project_file(), user_file()) if file is not None]
    kept = [each for file in files for each in read(file).registrations]
    found = [each for each in kept if each.name == name and kind in (None, each.kind)]
    if not found:
        near = suggestion(name, [each.name for each in kept])
        raise UsageError(f"nothing called {name!r} is registered", hint=near or "`rl2 register list` shows what is")
    if len({each.kind for each in found}) > 1:
        kinds = " and ".join(dict.fromkeys(each.kind for each in found))
        raise UsageError(f"{name!r} is registered as {kinds}", hint=f"say which: --kind {found[0].kind}")
    edit.forget(found[0])
    emit(f"{found[0].kind} {name} is forgotten; it was {found[0].target} in {found[0].file}")
    if len(found) > 1:
        note(f"{name} is now {found[1].target}, kept in {found[1].file}")


def trust_project(
    where: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="An rl2.toml, or its folder; the current project's where left out."),
    ] = None,
) -> None:
    """Rely on a project's rl2.toml that came from elsewhere, or that you changed by hand, as it is now.

    What it names may then be imported. Another change to the file ends that.
    """
    file = _file(where)
    kept = read(file)
    if kept.problems:
        raise UsageError(kept.problems[0].removeprefix(f"{file}: "), hint="mend it first", place=str(file))
    for each in kept.registrations:
        note(_shown(each))
    already = is_trusted(file, kept.content)
    trust(file, kept.content)
    emit(f"{file} {'was trusted already' if already else 'is trusted as it is now'}")


def _file(where: Path | None) -> Path:
    if where is None:
        found = project_file()
        if found is None:
            raise UsageError(
                f"there is no {PROJECT_FILE} in this folder or above it", hint="`rl2 register adapter …` makes one"
            )
        return found
    file = (where / PROJECT_FILE if where.is_dir() else where).resolve()
    if file.name != PROJECT_FILE or not file.is_file():
        raise UsageError(f"there is no {PROJECT_FILE} there", place=str(where))
    return file


def _shown(registration: Registration) -> str:
    target = "every name in it" if registration.kind == "module" else registration.target
    return f"  {registration.kind} {registration.name}: {target}"
