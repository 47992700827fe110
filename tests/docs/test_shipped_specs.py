"""The specs in `runs/`: valid, with a header that says what one gets, and with nothing in them that is a default."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli
from documents import DOCUMENTS, ROOT

from rl2cli.spec import load_spec, load_spec_dict
from rl2cli.spec.write import spec_to_dict

SPECS = sorted((ROOT / "runs").glob("*.toml"))
NOT_OPTIONAL = {("name",)}
"""Written although the file's name would do: it names the folder of the runs."""


@pytest.fixture(params=SPECS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_is_valid_and_called_like_its_file(path: Path) -> None:
    assert load_spec(path).spec.name == path.stem


def test_opens_with_schema_and_header(path: Path) -> None:
    first, empty, *rest = path.read_text(encoding="utf-8").splitlines()
    assert (first, empty) == ("#:schema ./schema.json", "")
    header = rest[: rest.index("")]
    assert all(line.startswith("# ") for line in header)
    text = "\n".join(header)
    for word in ("Machine: ", "Time: ", "Return: "):
        assert re.search(rf"^# {word} *\S", text, re.MULTILINE), word
    assert re.search(rf"^# Command: +rl2 train runs/{path.name}$", text, re.MULTILINE)


def test_lists_only_what_differs_from_the_defaults(path: Path) -> None:
    written = tomli.loads(path.read_text(encoding="utf-8"))
    effective = spec_to_dict(load_spec_dict(written).spec)
    redundant = []
    for key in set(_keys(written)) - NOT_OPTIONAL:
        shorter = _without(written, key)
        try:
            without = load_spec_dict(shorter).spec
        except Exception:  # required, or nothing fits without it
            continue
        if spec_to_dict(without) == effective:
            redundant.append(".".join(key))
    assert redundant == []


def test_is_in_the_readme(path: Path) -> None:
    assert f"(runs/{path.name})" in DOCUMENTS["README"].read_text(encoding="utf-8")


def _keys(table: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in table.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from _keys(value, (*prefix, key))


def _without(table: dict[str, Any], key: tuple[str, ...]) -> dict[str, Any]:
    copied = copy.deepcopy(table)
    inner = copied
    for part in key[:-1]:
        inner = inner[part]
    del inner[key[-1]]
    return copied
