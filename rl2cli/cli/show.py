"""`rl2 show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rl2cli.cli.output import emit, emit_json
from rl2cli.errors import UsageError, suggestion
from rl2cli.plugins import schema_cache

if TYPE_CHECKING:  # Typer and the parameters are given where Typer takes over
    import typer

    from rl2cli.cli.parameters import AsJson, Overrides
    from rl2cli.registry import Registry


@schema_cache.preferred()
def show(
    what: Annotated[
        str,
        typer.Argument(metavar="[X]", help="A run's folder or latest, the default; a .toml file; or a plugin's name."),
    ] = "latest",
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show a run and how it went, every setting of a spec and where it is from, or the options of a plugin."""
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
    from rl2cli.cli.origins import with_origins
    from rl2cli.cli.start import load
    from rl2cli.spec import spec_to_dict

    loaded = load(path, overrides, quiet=False)
    emit_json(spec_to_dict(loaded.spec)) if as_json else emit("\n".join(with_origins(loaded)))


def _show_plugin(name: str, *, as_json: bool) -> None:
    from rl2cli.cli.list import REGISTRIES

    registries = [registry for registry in REGISTRIES.values() if name in registry.names()]
    if not registries:
        known = [known for registry in REGISTRIES.values() for known in registry.names()]
        hint = suggestion(name, known) or f"there are: {', '.join(known)}; `rl2 list` says what they are"
        raise UsageError(f"{name!r} is neither a run, a .toml file nor a plugin", hint=hint)
    for registry in registries:
        if as_json:
            return emit_json(_facts(registry, name))
        emit("\n".join(_lines(registry, name)))


def _facts(registry: Registry, name: str) -> dict[str, object]:
    from rl2cli.spec.describe import option_rows, option_sources

    entry, model = registry.entry(name), registry.options(name)
    rows = [vars(row) for row in option_rows(model)]
    facts = {"kind": registry.kind, "name": name, "target": entry.target, "origin": entry.origin}
    return {**facts, "summary": registry.summary(entry), "options": rows, "sources": option_sources(model)}


def _lines(registry: Registry, name: str) -> list[str]:
    from rl2cli.cli.option_text import option_lines, source_lines
    from rl2cli.spec.describe import option_rows, option_sources

    entry, model = registry.entry(name), registry.options(name)
    rows = option_rows(model)
    heading = f"{name}, {registry.kind}, {entry.origin}"
    lines = [heading, *filter(None, [registry.summary(entry)]), f"written in {entry.target.partition(':')[0]}"]
    lines += ["", *([line for row in rows for line in option_lines(row)] or ["  it takes no options"])]
    sources = source_lines(option_sources(model))
    return [*lines, "", "Where defaults are from:", *sources] if sources else lines
