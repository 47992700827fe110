"""How one option of a plugin or of the run spec is shown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rl2cli.spec.describe import OptionRow

WIDTH = 100


def option_lines(row: OptionRow, *, name: str = "", owner: str = "") -> list[str]:
    """Return name, type, default and allowed values on one line, the description below.

    Args:
        row: The option.
        name: What to call it in place of its own name.
        owner: The plugin it belongs to, where that is not clear.
    """
    default = row.default if row.default == "required" else f"default {row.default}" if row.default else "no default"
    facts = ", ".join(filter(None, (row.type, row.allowed, default, f"with {owner}" if owner else "")))
    indent = " " * 6
    description = textwrap.wrap(row.description, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return [f"  {name or row.name}: {facts}", *description]


def source_lines(sources: Mapping[str, str], indent: str = "  ") -> list[str]:
    """Return a line for each source, its short name in brackets first."""
    width = max((len(name) for name in sources), default=0) + 2
    return [f"{indent}{f'[{name}]':<{width}} {source}" for name, source in sources.items()]
