"""Values from a run folder's files, which anybody may have written: taken as what they should be, or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rl2cli.durable import open_regular
from rl2cli.text import shortened

MAX_RECORD_BYTES = 64 * 2**20
"""Most of a record file that is read; rl2 keeps its own to a few megabytes."""
MAX_TEXT = 300
_MAX_LINE = 2**20
_TAIL = 2**17
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

Row = dict[str, Any]


def number(value: object) -> float | None:
    """Return a number of a record as a float; the strings that stand for what is not finite are numbers too."""
    if isinstance(value, str):
        return _NOT_FINITE.get(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def finite(value: object) -> float | None:
    """Return `number(value)` where that is finite."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def whole(value: object) -> int | None:
    """Return a count, such as a number of frames; None for anything else."""
    return value if type(value) is int and 0 <= value < 2**63 else None


def text(value: object, otherwise: str = "") -> str:
    """Return a short text as one harmless line."""
    return shortened(value, MAX_TEXT) if isinstance(value, str) else otherwise


def table(value: object) -> Mapping[str, Any]:
    """Return a table; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def texts(value: object, limit: int = 100) -> list[str]:
    """Return the first texts of a list as harmless lines."""
    return [text(item) for item in value[:limit] if isinstance(item, str)] if isinstance(value, list) else []


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a JSON lines file that have a number of frames; what cannot be read is left out."""
    try:
        with open_regular(path, os.O_RDONLY) as file:
            while file.tell() < MAX_RECORD_BYTES and (line := file.readline(_MAX_LINE)):
                row = _row(line)
                if row is not None:
                    yield row
    except OSError:
        return


def last_frames(path: Path) -> int | None:
    """Return the number of frames in the last whole row of a JSON lines file, without reading all of it."""
    try:
        with open_regular(path, os.O_RDONLY) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read(_TAIL).splitlines()
    except OSError:
        return None
    found = (_row(line) for line in reversed(lines))
    return next((int(row["frames"]) for row in found if row is not None), None)


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and whole(row.get("frames")) is not None else None
