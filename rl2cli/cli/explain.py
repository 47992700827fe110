"""`rl2 explain`."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from rl2cli.cli.option_text import option_lines
from rl2cli.cli.output import emit_lines
from rl2cli.errors import MissingDependencyError, PluginError, UsageError, nearest
from rl2cli.plugins import schema_cache


@schema_cache.preferred()
def explain(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A setting as TOML has it, such as algorithm.gamma, or a whole table.")
    ],
) -> None:
    """Say what a setting does, what it takes and what it is where left out."""
    from rl2cli.spec.describe import OptionRow, option_rows
    from rl2cli.spec.load import PLUGIN_TABLES
    from rl2cli.spec.model import RunSpec

    known: list[tuple[str, str, OptionRow]] = [(row.name, "", row) for row in option_rows(RunSpec)]
    for table, plugins in PLUGIN_TABLES.items():
        for name in plugins.registry.names():
            with suppress(
                PluginError, MissingDependencyError
            ):  # of a plugin that does not work, `rl2 show NAME` says why
                rows = option_rows(plugins.registry.options(name))
                known += [(f"{table}.{row.name}", f"{plugins.name_key} = {name!r}", row) for row in rows]
    found = [item for item in known if item[0] == key or item[0].startswith(f"{key}.")]
    if not found:
        near = nearest(key, [name for name, _, _ in known], count=1)
        hint = f"did you mean {near[0]!r}?" if near else "`rl2 show ppo` lists the options of ppo"
        raise UsageError(f"there is no setting {key!r}", hint=hint)
    emit_lines(line for name, owner, row in found for line in option_lines(row, name=name, owner=owner))
