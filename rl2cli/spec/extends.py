"""`extends = "base.toml"`: a spec that says only in what it differs from another one.

The path is relative to the file it stands in; where nothing is there, a spec of that name that comes with rl2 is
meant, as for `rl2 train`. Only a file can extend one: not a mapping, not a run's `resolved.toml`, not the command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl2cli.errors import suggestion
from rl2cli.plugins.lookup import look_from
from rl2cli.spec.fields import got
from rl2cli.spec.plugin_tables import PLUGIN_TABLES
from rl2cli.spec.problems import SpecError
from rl2cli.spec.settings import Layer
from rl2cli.spec.shipped import read_spec, shipped_of_name, shipped_specs, specs_in
from rl2cli.spec.source import Finding, Source
from rl2cli.spec.toml import parse_source

KEY = "extends"
DESCRIPTION = (
    "Another spec, relative to this file, whose settings hold where this one has none; tables are merged key by key, "
    "the name is not taken over."
)
MAX_FILES = 16
_WHOLE = "resolved.toml"
_AS_IN = 'as in: extends = "base.toml"'
_NOT_TAKEN = {KEY, "name"}
"""Keys that are about the file they stand in: what extends a spec is another run, called like its own file."""


def with_bases(own: Layer, data: dict[str, Any], file: Path) -> tuple[dict[str, Any], list[Layer]]:
    """Return the values of a spec with those of every file that it extends, and these files, the own one first.

    Raises:
        SpecError: A file that is extended is not there, wrong, or extends itself in the end.
    """
    chain = [own]
    parts, files = [data], [file.resolve()]
    while KEY in parts[-1]:
        base, shipped = _base(chain[-1].source, parts[-1][KEY], files[-1])
        if base in files:
            raise _ring(chain, chain[files.index(base)].source.name)
        if len(chain) == MAX_FILES:
            raise _refused(
                chain[-1].source, f"more than {MAX_FILES} files extend each other", "put some of them together"
            )
        name = str(base) if shipped else _shown(chain[-1], parts[-1][KEY])
        chain.append(Layer(Source(name, read_spec(base)), shipped, left_out=_NOT_TAKEN))
        parts.append(parse_source(chain[-1].source))
        files.append(base)
        if not shipped:
            look_from(base.parent)  # as of the spec itself: the names of its own project count
    return _merged(parts, chain)


def _base(source: Source, value: object, file: Path) -> tuple[Path, bool]:
    """Return the file that `extends = value` in `file` means, and whether it is a shipped one."""
    if file.name == _WHOLE:
        message = "a run's resolved.toml has every setting, so it extends nothing"
        raise _refused(source, message, "remove the line", at_key=True)
    if not isinstance(value, str) or not value.strip():
        raise _refused(source, f"expected the path of another spec, got {got(value)}", _AS_IN)
    try:
        found = (file.parent / value).resolve()
        if found.is_file():
            return found, False
    except (OSError, ValueError, RuntimeError):  # no path at all, or links that lead in a circle
        raise _refused(source, "this is not the path of a file", _AS_IN) from None
    shipped = shipped_of_name(Path(value))
    if shipped is not None:
        return shipped, True
    if found.exists():
        raise _refused(source, f"{value!r} is no file", _AS_IN)
    beside = [os.path.relpath(path, file.parent) for path in specs_in(found.parent) if path != file]
    near = suggestion(value, beside) or suggestion(value, shipped_specs())
    looked_for = f"it is looked for from the folder of this file, {file.parent}"
    raise _refused(source, f"there is no file {value!r}", near or looked_for)


def _shown(layer: Layer, value: str) -> str:
    """Return what to call the file that `layer` extends: from where the user is, as its own name is."""
    return os.path.normpath(os.path.join(os.path.dirname(layer.source.name), value))


def _refused(source: Source, message: str, hint: str, *, at_key: bool = False) -> SpecError:
    return SpecError([source.place(Finding((KEY,), message, hint, at_key))])


def _ring(chain: list[Layer], first: str) -> SpecError:
    """Return the error of files that extend each other in a ring; each link is a problem with its place."""
    names = [layer.source.name for layer in chain]
    ring = names[names.index(first) :]
    message = "these files extend each other in a ring: " + " → ".join([*ring, first])
    hint = "one of them has to stand by itself"
    links = [layer.source for layer in chain if layer.source.name in ring]
    if len(links) == 1:
        return _refused(links[0], "this file extends itself", hint)
    return SpecError(
        [links[0].place(Finding((KEY,), message, hint))]
        + [link.place(Finding((KEY,), "the ring goes on here")) for link in links[1:]]
    )


def _merged(parts: list[dict[str, Any]], chain: list[Layer]) -> tuple[dict[str, Any], list[Layer]]:
    """Return the values of all files, those nearer to the spec winning, and the files with what of them counts."""
    layers = list(chain)
    data = parts[-1]
    for index in range(len(parts) - 2, -1, -1):
        changed = _changed_plugins(data, parts[index])
        for table in changed:
            kept = PLUGIN_TABLES[table].own_keys
            data = data | {table: {key: value for key, value in data[table].items() if key in kept}}
            for below in range(index + 1, len(layers)):
                layers[below] = replace(layers[below], kept={**layers[below].kept, table: kept})
        base = {key: value for key, value in data.items() if key not in _NOT_TAKEN}
        data = _deep(base, parts[index])
    return {key: value for key, value in data.items() if key != KEY}, layers


def _changed_plugins(base: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return the tables for which `own` names another plugin than `base`, whose options then mean nothing."""
    found = []
    for table in PLUGIN_TABLES:
        named = _named(own, table)
        if table == "critic_network" and _named(base, table) is None:  # it is called as the policy's is
            named = named or _named(own, "network")
        before = _named(base, table) or (_named(base, "network") if table == "critic_network" else None)
        if isinstance(base.get(table), dict) and named not in (None, before or PLUGIN_TABLES[table].default_name):
            found.append(table)
    return found


def _named(data: Mapping[str, Any], table: str) -> object:
    values = data.get(table)
    return values.get(PLUGIN_TABLES[table].name_key) if isinstance(values, dict) else None


def _deep(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `own`; tables that both have are merged in the same way."""
    found = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = _deep(found[key], value) if both else value
    return found
