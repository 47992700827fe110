"""`rl2 show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rl2cli.cli.output import emit, emit_json, emit_lines
from rl2cli.cli.parameters import AsJson, Overrides
from rl2cli.errors import UsageError, suggestion
from rl2cli.plugins import schema_cache


@schema_cache.preferred()
def show(
    what: Annotated[
        str,
        typer.Argument(metavar="[X]", help="A run's folder or latest, the default; a .toml file; or a plugin's name."),
    ] = "latest",
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show a run and how it went, every setting of a spec, or the options of a plugin."""
    if what.endswith(".toml"):
        return _show_spec(what, overrides or [], as_json=as_json)
    if overrides:
        raise UsageError("--set changes a spec", hint="name one: rl2 show runs/cartpole.toml --set …")
    if _is_path(what):
        from rl2cli.cli.show_run import show_run

        return show_run(what, as_json=as_json)
    return _show_plugin(what, as_json=as_json)


def _is_path(what: str) -> bool:
    if what == "latest" or "/" in what or "\\" in what:
        return True
    from rl2cli.cli.list import REGISTRIES

    is_plugin = any(what in registry.names() for registry in REGISTRIES.values())
    return not is_plugin and (Path(what).exists() or Path("outputs", what).is_dir())


def _show_spec(path: str, overrides: list[str], *, as_json: bool) -> None:
    from rl2cli.spec import dump_spec, load_spec, spec_to_dict

    spec = load_spec(path, overrides).spec
    emit_json(spec_to_dict(spec)) if as_json else emit(dump_spec(spec).rstrip("\n"))


def _show_plugin(name: str, *, as_json: bool) -> None:
    from rl2cli.cli.list import REGISTRIES
    from rl2cli.cli.option_text import option_lines
    from rl2cli.spec.describe import option_rows

    registries = [registry for registry in REGISTRIES.values() if name in registry.names()]
    if not registries:
        known = [known for registry in REGISTRIES.values() for known in registry.names()]
        hint = suggestion(name, known) or f"there are: {', '.join(known)}; `rl2 list` says what they are"
        raise UsageError(f"{name!r} is neither a run, a .toml file nor a plugin", hint=hint)
    for registry in registries:
        entry = registry.entry(name)
        rows = option_rows(registry.options(name))
        if as_json:
            facts = {"kind": registry.kind, "name": name, "target": entry.target, "origin": entry.origin}
            emit_json({**facts, "summary": registry.summary(entry), "options": [vars(row) for row in rows]})
            return
        heading = [f"{name}, {registry.kind}, {entry.origin}", *filter(None, [registry.summary(entry)]), ""]
        emit_lines([*heading, *(line for row in rows for line in option_lines(row))])
