"""What pydantic found wrong with a table, as findings in the user's words: one for each key."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rl2cli.errors import suggestion
from rl2cli.options import Options
from rl2cli.spec.describe import as_toml
from rl2cli.spec.fields import Schema, allowed_values, branches, expected, got, model_schema, number
from rl2cli.spec.homes import elsewhere
from rl2cli.spec.locate import Path
from rl2cli.spec.source import Finding, dotted
from rl2cli.text import shortened

_BOOLEANS = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}

_LONGEST_NAME = 64
"""Longer unknown names are not compared with the known ones."""


@dataclass(frozen=True)
class _Spot:
    """Where in a table an error belongs, and what may stand there."""

    path: Path
    value: Any
    schema: Schema
    siblings: Collection[str]


def complaints(
    error: ValidationError,
    model: type[Options],
    table: dict[str, Any],
    path: Path,
    also_known: Collection[str],
) -> list[Finding]:
    """Return what is wrong with `table`, which stands at `path` and was validated by `model`.

    `also_known` are the keys of the same table that another model takes.
    """
    schema = model_schema(model)
    schema["properties"] = schema.get("properties", {}) | {name: {} for name in also_known}
    found: dict[Path, Finding] = {}
    for details in error.errors(include_url=False, include_input=False):
        spot = _spot(details["loc"], table, schema)
        found.setdefault(spot.path, _finding(details, spot, path))
    inner = {spot_path[:depth] for spot_path in found for depth in range(len(spot_path))}
    return [finding for spot_path, finding in found.items() if spot_path not in inner]


def unknown_key(path: Path, known: Collection[str]) -> Finding:
    """Return the finding for a key that no model has."""
    name = str(path[-1])
    if path == ("extends",):
        return Finding(path, "only the file of a spec can extend another one", "write it there", at_key=True)
    shown = shortened(name, _LONGEST_NAME)
    names = sorted({*known, "extends"} if len(path) == 1 else known)
    near = suggestion(name, names) if len(name) <= _LONGEST_NAME else None
    home = elsewhere(".".join(map(str, path[:-1])), name) if len(path) <= 2 else None
    where = f" in [{dotted(path[:-1])}]" if len(path) > 1 else ""
    return Finding(path, f"unknown key '{shown}'{where}", home or near or f"there are: {', '.join(names)}", at_key=True)


def _spot(location: tuple[int | str, ...], table: dict[str, Any], schema: Schema) -> _Spot:
    """Follow pydantic's `location` through the values; its names of union members lead nowhere and are skipped."""
    spot = _Spot((), table, schema, ())
    for step in location:
        for branch in branches(spot.schema):
            inner = _step(spot, branch, step)
            if inner is not None:
                spot = inner
                break
    return spot


def _step(spot: _Spot, branch: Schema, step: int | str) -> _Spot | None:
    path = (*spot.path, step)
    if isinstance(step, int):
        if not isinstance(spot.value, list) or branch.get("type", "array") != "array":
            return None
        firsts = branch.get("prefixItems", [])
        item = firsts[step] if step < len(firsts) else branch.get("items") or {}
        return _Spot(path, spot.value[step], item, ()) if step < len(spot.value) else None
    if not isinstance(spot.value, dict) or branch.get("type", "object") != "object":
        return None
    properties = branch.get("properties", {})
    if step not in properties and step not in spot.value:
        return None
    rest = branch.get("additionalProperties")
    schema = properties.get(step, rest if isinstance(rest, dict) else {})
    return _Spot(path, spot.value.get(step), schema, properties)


def _finding(details: ErrorDetails, spot: _Spot, table: Path) -> Finding:
    path = (*table, *spot.path)
    problem = details["type"]
    if problem == "extra_forbidden":
        return unknown_key(path, spot.siblings)
    if problem == "missing" and spot.value is None:
        return Finding(path, f"{dotted(path)!r} is missing", _missing_hint(spot.schema), at_key=True)
    if problem in ("value_error", "assertion_error"):
        return Finding(path, str(details.get("ctx", {}).get("error", details["msg"])), _explain_hint(path))
    if problem == "string_pattern_mismatch":
        description = spot.schema.get("description", f"it has to match {spot.schema.get('pattern')}")
        return Finding(path, f"{got(spot.value)} is not a valid {path[-1]}", description)
    hint = _value_hint(spot) or _default_hint(spot.schema) or _explain_hint(path)
    return Finding(path, f"expected {expected(spot.schema)}, got {got(spot.value)}", hint)


def _explain_hint(path: Path) -> str:
    """Return where the setting at `path`, or what is above it, is explained."""
    named = path[:1] if len(path) < 2 or isinstance(path[1], int) else path[:2]
    return f"`rl2 explain {dotted(named)}` says what it takes"


def _missing_hint(schema: Schema) -> str:
    description = schema.get("description", "")
    return f"it takes {expected(schema)}" + (f": {description}" if description else "")


def _value_hint(spot: _Spot) -> str | None:
    """Return what to write instead of a value of the wrong type or spelling."""
    types = {branch.get("type") for branch in branches(spot.schema)}
    if isinstance(spot.value, float) and "integer" in types and spot.value.is_integer():
        return f"write it without point and exponent: {number(spot.value)}"
    if "array" in types and not isinstance(spot.value, (dict, list)):
        return f"write it in brackets: [{as_toml(spot.value)}]"
    if not isinstance(spot.value, str) or len(spot.value) > _LONGEST_NAME:
        return None
    if "boolean" in types and spot.value.lower() in _BOOLEANS:
        return f"write it without quotes: {_BOOLEANS[spot.value.lower()]}"
    if types & {"integer", "number"} and _is_number(spot.value):
        return f"write it without quotes: {spot.value.lower()}"
    return suggestion(spot.value, [value for value in allowed_values(spot.schema) if isinstance(value, str)])


def _default_hint(schema: Schema) -> str | None:
    """Return what holds without a value, and what it would mean."""
    description = schema.get("description", "").rstrip(".") or None
    if schema.get("default") is None:
        return description
    default = f"left out, it is {as_toml(schema['default'])}"
    return f"{default}: {description[:1].lower()}{description[1:]}" if description else default


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
