"""`rl2 explain`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from rl2cli.cli.option_text import option_lines, source_lines
from rl2cli.cli.output import emit_json, emit_lines
from rl2cli.errors import MissingDependencyError, PluginError, UsageError, nearest
from rl2cli.plugins import schema_cache

if TYPE_CHECKING:  # Typer and the parameters are given where Typer takes over
    import typer

    from rl2cli.cli.parameters import AsJson, Overrides
    from rl2cli.options import Options
    from rl2cli.spec import LoadedSpec
    from rl2cli.spec.describe import OptionRow


class _Setting(NamedTuple):
    """One setting that a spec may have."""

    key: str
    owner: str
    """The plugin whose option it is, as a spec names it; empty where it is rl2's own."""
    row: OptionRow
    sources: dict[str, str]
    """What the short names in its description stand for."""


@schema_cache.preferred()
def explain(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A setting as TOML has it, such as algorithm.gamma, or a whole table.")
    ],
    spec: Annotated[
        str | None, typer.Argument(metavar="[SPEC]", help="Also say what it is in this spec, and which file sets it.")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Say what a setting does, what it takes, what it is where left out, and where that default is from."""
    from rl2cli.cli.start import load

    if spec is None and overrides:
        raise UsageError("--set changes a spec", hint=f"name one: rl2 explain {key} runs/cartpole.toml --set …")
    loaded = None if spec is None else load(spec, overrides or [], quiet=False)
    near = _settings(loaded, about=key)
    found = [item for item in near if item.key == key or item.key.startswith(f"{key}.")]
    if not found:
        raise _unknown(key, _settings(loaded), loaded)
    if as_json:
        return emit_json({"settings": [_facts(item, loaded) for item in found]})
    emit_lines(line for item in found for line in _lines(item, loaded))


def _settings(loaded: LoadedSpec | None, about: str | None = None) -> list[_Setting]:
    """Return every setting; of a spec's tables for plugins, only those of the plugin that it names.

    With `about`, a key, plugins that have no such option are left out: describing one takes a while.
    """
    from rl2cli.spec import extends
    from rl2cli.spec.describe import OptionRow, option_rows
    from rl2cli.spec.model import RunSpec
    from rl2cli.spec.plugin_tables import PLUGIN_TABLES

    known = [_Setting(extends.KEY, "", OptionRow(extends.KEY, "string", "", "", extends.DESCRIPTION), {})]
    known += [_Setting(row.name, "", row, {}) for row in option_rows(RunSpec)]
    asked, _, option = (about or "").partition(".")
    for table, plugins in PLUGIN_TABLES.items():
        if asked not in ("", table):
            continue
        used = None if loaded is None else getattr(loaded.spec, table)
        names = [getattr(used, plugins.name_key)] if used is not None else plugins.registry.names()
        for name in names:
            with suppress(PluginError, MissingDependencyError):  # of one that does not work, `rl2 show NAME` says why
                model = plugins.registry.options(name)
                if not option or option.partition(".")[0] in model.model_fields:
                    known += _of_plugin(table, f'{plugins.name_key} = "{name}"', model)
    return known


def _of_plugin(table: str, owner: str, model: type[Options]) -> list[_Setting]:
    from rl2cli.spec.describe import option_rows, option_sources

    sources = option_sources(model)
    return [_Setting(f"{table}.{row.name}", owner, row, sources) for row in option_rows(model)]


def _unknown(key: str, known: list[_Setting], loaded: LoadedSpec | None) -> UsageError:
    names = list(dict.fromkeys(item.key for item in known))
    if loaded is not None and any(item.key == key for item in _settings(None)):
        return UsageError(
            f"{_label(loaded)} has no setting {key!r}: it is one of another plugin",
            hint=f"`rl2 explain {key}` says of which",
        )
    # `gamma` alone is clear enough to be found.
    tables = [name for name in names if name.rpartition(".")[2] == key]
    tables = tables[:3] or nearest(key, names, count=1)
    near = f"did you mean {' or '.join(map(repr, tables))}?" if tables else None
    return UsageError(
        f"there is no setting {key!r}", hint=near or "`rl2 show ppo` lists the options of ppo, `rl2 list` all plugins"
    )


def _cited(item: _Setting) -> dict[str, str]:
    from rl2cli.spec.describe import cited

    return {name: item.sources[name] for name in cited(item.row.description) if name in item.sources}


def _lines(item: _Setting, loaded: LoadedSpec | None) -> list[str]:
    lines = [*option_lines(item.row, name=item.key, owner=item.owner), *source_lines(_cited(item), " " * 6)]
    if loaded is None:
        return lines
    value, origin = _in_spec(item.key, loaded)
    if value is None:
        return [*lines, f"      in {_label(loaded)}: left out"]
    shown = f"{value}, the default" if origin == "default" else f"{value}, set by {origin}"
    return [*lines, f"      in {_label(loaded)}: {shown}"]


def _label(loaded: LoadedSpec) -> str:
    assert loaded.settings is not None
    return loaded.settings.layers[0].label


def _facts(item: _Setting, loaded: LoadedSpec | None) -> dict[str, Any]:
    facts = {**vars(item.row), "name": item.key, "plugin": item.owner or None, "sources": _cited(item)}
    if loaded is not None:
        value, origin = _in_spec(item.key, loaded)
        facts |= {"value": value, "origin": origin}
    return facts


def _in_spec(key: str, loaded: LoadedSpec) -> tuple[str | None, str]:
    """Return the value of a setting in a spec, as TOML, and where it is from."""
    from rl2cli.spec import spec_to_dict
    from rl2cli.spec.describe import as_toml

    assert loaded.settings is not None
    value: Any = spec_to_dict(loaded.spec)
    path = tuple(key.split("."))
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return (None if value is None else as_toml(value)), loaded.settings.origin(path)
