"""What is known of a plugin without importing it: its options' schema, kept under the hashes of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl2cli.durable import read_regular, write_text_atomic
from rl2cli.errors import StorageError

_VERSION = 1
_MAX_BYTES = 4_000_000
_preferred = False


@dataclass(frozen=True)
class Description:
    """What was seen of a plugin when it was last imported."""

    schema: dict[str, Any]
    """JSON schema of its options."""
    summary: str
    """The first sentence of its class."""
    files: dict[str, str]
    """Path → sha256, of the files that its class and its options are written in."""


@contextmanager
def preferred() -> Iterator[None]:
    """Answer from descriptions in the block: nothing that only looks imports a plugin."""
    global _preferred
    before, _preferred = _preferred, True
    try:
        yield
    finally:
        _preferred = before


def is_preferred() -> bool:
    """Return whether descriptions are wanted rather than the plugins themselves."""
    return _preferred


def load(kind: str, target: str, folder: str | None) -> Description | None:
    """Return what is known of a plugin, or None where its files have changed since, or it was never seen."""
    try:
        data = json.loads(read_regular(_file(kind, target, folder), _MAX_BYTES))
        if data.pop("version") != _VERSION:
            return None
        found = Description(**data)
        known = found.files and all(file_hash(Path(path)) == sha256 for path, sha256 in found.files.items())
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    return found if known and isinstance(found.schema, dict) else None


def save(kind: str, target: str, folder: str | None, description: Description) -> None:
    """Keep `description`; a cache that cannot be written is no error."""
    path = _file(kind, target, folder)
    with suppress(OSError, StorageError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, json.dumps({"version": _VERSION, **asdict(description)}))


def file_hash(path: Path) -> str | None:
    """Return the sha256 of a file, or None where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _file(kind: str, target: str, folder: str | None) -> Path:
    import platformdirs

    key = hashlib.sha256("\n".join((kind, target, folder or "")).encode()).hexdigest()
    return platformdirs.user_cache_path("rl2", appauthor=False) / "plugins" / f"{key}.json"
