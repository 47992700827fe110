"""Where keys of a run spec belong, for those who put them elsewhere."""

from __future__ import annotations

from contextlib import suppress
from typing import get_args

from rl2cli.errors import MissingDependencyError, PluginError
from rl2cli.options import Options
from rl2cli.registry import BUILT_IN
from rl2cli.spec.model import RunSpec
from rl2cli.spec.plugin_tables import PLUGIN_TABLES


def home(name: str) -> str | None:
    """Return the table that has a key called `name`, plugins being the ones used where none is named."""
    found: dict[str, str] = {}
    for table, field in RunSpec.model_fields.items():
        kind = PLUGIN_TABLES.get(table)
        if kind is not None and table != "critic_network":
            found |= dict.fromkeys(kind.own_keys - {"name"}, table)
            with suppress(PluginError):
                found |= dict.fromkeys(kind.registry.options(kind.default_name).model_fields, table)
        elif kind is None:
            for part in (field.annotation, *get_args(field.annotation)):
                if isinstance(part, type) and issubclass(part, Options):
                    found |= {key: table for key in part.model_fields if key not in found}
    return found.get(name)


def owners(table: str, name: str) -> list[str]:
    """Return the plugins that come with rl2, of the kind that `table` names, which have an option called `name`."""
    kind = PLUGIN_TABLES.get(table)
    found = []
    for entry in [] if kind is None else kind.registry.entries():
        with suppress(PluginError, MissingDependencyError):
            if entry.origin == BUILT_IN and kind and name in kind.registry.options(entry.name).model_fields:
                found.append(entry.name)
    return found


def elsewhere(table: str, name: str) -> str | None:
    """Return where a key that `table` does not have would be right; None where nothing has it."""
    with_it = owners(table, name)
    if with_it:
        kind = PLUGIN_TABLES[table]
        noun = "backend" if table == "env" else kind.registry.kind
        others = f" and {' and '.join(map(repr, with_it[1:3]))}" if with_it[1:] else ""
        return f"it is an option of the {noun} {with_it[0]!r}{others}, which this table does not name"
    where = home(name)
    return None if where in (None, table) else f"it belongs in [{where}]"
