"""Every key that a run spec ever had still means something: `every_key.txt` only grows.

A key that goes has to be refused in words that name the rl2 which reads it, or be migrated; then a test of that belongs
here, and the key stays in the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KNOWN = Path(__file__).with_name("every_key.txt")
SCHEMA = Path(__file__).parents[2] / "runs" / "schema.json"
"""Which another test compares with the code."""


def keys(node: Any, definitions: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield every key that the schema has, with the tables it lies in."""
    if "$ref" in node:
        node = definitions[node["$ref"].rpartition("/")[2]]
    inner = [*node.get("anyOf", []), *node.get("oneOf", []), *node.get("allOf", [])]
    for part in (*inner, *(node[key] for key in ("then", "else") if key in node)):
        yield from keys(part, definitions, path)
    for name, value in node.get("properties", {}).items():
        yield ".".join((*path, name))
        yield from keys(value, definitions, (*path, name))


def test_every_key_that_ever_was_is_there() -> None:
    schema = json.loads(SCHEMA.read_text())
    present = set(keys(schema, schema.get("$defs", {})))
    known = KNOWN.read_text().split()
    assert sorted(set(known) - present) == []
    assert sorted(present - set(known)) == [], f"add them to {KNOWN.name}"
