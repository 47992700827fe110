"""A run spec as nested Python mappings: into plain values, as TOML would have given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl2cli.spec.locate import Path
from rl2cli.spec.problems import Problem, SpecError
from rl2cli.spec.source import dotted
from rl2cli.spec.toml import MAX_DEPTH, unusable_values

_PLAIN = (bool, int, float, str)


def plain_table(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy of `mapping` made of dicts, lists, strings, numbers and booleans; None is left out.

    Raises:
        SpecError: A value that TOML or rl2 does not have.
    """
    problems: list[Problem] = []
    table: dict[str, Any] = {}
    for name, value in mapping.items():
        if value is not None:
            table[str(name)] = _plain(value, (str(name),), problems)
    problems = problems or [Problem(item.message, item.hint, key=dotted(item.path)) for item in unusable_values(table)]
    if problems:
        raise SpecError(problems)
    return table


def _plain(value: Any, path: Path, problems: list[Problem]) -> Any:
    if len(path) > 3 * MAX_DEPTH:
        hint = "no setting needs so many: does the mapping hold itself?"
        problems.append(Problem("more tables inside each other than a run spec may have", hint, key=dotted(path[:3])))
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item, (*path, str(key)), problems) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item, (*path, index), problems) for index, item in enumerate(value)]
    if type(value) not in _PLAIN or (isinstance(value, str) and not _is_text(value)):
        hint = "it has bool, int, float, str that is Unicode, and lists and mappings of these"
        problems.append(Problem(f"a run spec has no values of type {type(value).__name__}", hint, key=dotted(path)))
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
