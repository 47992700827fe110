"""The JSON schema of a run spec with the plugins known here, mostly without building it: that takes half a second."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from rl2cli import registry
from rl2cli.durable import read_regular, write_text_atomic
from rl2cli.errors import StorageError
from rl2cli.plugins import schema_cache
from rl2cli.spec.shipped import shipped_folder

_MAX_BYTES = 16_000_000


def known_schema_text() -> str:
    """Return `schema_text(registered=True)`: the shipped one, or one that was built for the same plugins before."""
    shipped = (shipped_folder() / "schema.json").read_text(encoding="utf-8")
    plugins = _plugins()
    if plugins == []:
        return shipped
    path = None if plugins is None else _path(json.dumps([shipped, plugins]))
    if path is not None:
        with suppress(OSError, ValueError):
            return read_regular(path, _MAX_BYTES).decode()
    from rl2cli.spec.schema import schema_text

    text = schema_text(registered=True)
    if path is not None:
        with suppress(OSError, StorageError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomic(path, text)
    return text


def _plugins() -> list[list[object]] | None:
    """Return what the schema says of each plugin that is not rl2's; None where that is known only by importing it."""
    found: list[list[object]] = []
    for plugins in (registry.algorithms, registry.networks, registry.adapters):
        for entry in plugins.entries():
            if entry.origin == registry.BUILT_IN:
                continue
            known = schema_cache.load(plugins.kind, entry.target, entry.folder) if entry.is_outside else None
            if known is None and entry.trusted:
                return None
            found.append([plugins.kind, entry.name, entry.trusted, None if known is None else known.schema])
    return found


def _path(key: str) -> Path:
    import platformdirs

    name = hashlib.sha256(key.encode()).hexdigest()
    return platformdirs.user_cache_path("rl2", appauthor=False) / "schemas" / f"{name}.json"
