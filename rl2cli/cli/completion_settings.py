"""Keys and values behind `--set`: those of the spec on the line, with the options of the plugins that it names.

Read from the shipped schema, and for other plugins from what was kept of them: making the models anew, as validation
does, would take longer than a key press may.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl2cli.cli.completion import Candidate
from rl2cli.errors import RL2Error

if TYPE_CHECKING:
    from rl2cli.cli.completion_values import Line

Schema = dict[str, Any]
TABLES = {
    "env": ("backend", "gymnasium"),
    "network": ("name", "mlp"),
    "critic_network": ("name", "mlp"),
    "algorithm": ("name", "ppo"),
}
"""Table of plugins → the key that names one, and the one that is used where none is named."""
OWN_KEYS = {
    "env": ("backend", "num_envs", "workers", "timeout", "max_restarts"),
    "network": ("name",),
    "critic_network": ("name",),
    "algorithm": ("name",),
}
"""Keys of these tables that are no plugin's."""
MOST_FILES = 16
_SHORT = 60
"""Characters of a description that are shown."""
_ALONE = {"infer": "env.", "check-env": "env.", "resume": "scale."}
"""Commands whose `--set` takes keys of one table only."""


def all_settings() -> Iterator[Candidate]:
    """Yield the dotted name of every setting, of every plugin."""
    schema = _shipped()
    names = {table: [*_builtin(schema, table), *_others(schema, table)] for table in TABLES}
    for key, item in _fields(schema, names):
        yield Candidate(key, _summary(item))


def settings(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield `key=` for each setting, or `key=value` where a key with few values is there already."""
    key, equals, _ = incomplete.partition("=")
    schema = _shipped()
    for name, item in _fields(schema, _named_plugins(line)):
        if name == "extends" or not name.startswith(_ALONE.get(line.command, "")):
            continue
        if equals and name == key:
            yield from (Candidate(f"{key}={value}") for value in _values(key, item, schema))
        elif not equals and _is_value(item):
            yield Candidate(f"{name}=", _summary(item))


def _shipped() -> Schema:
    from rl2cli.spec.shipped import shipped_folder

    found: Schema = json.loads((shipped_folder() / "schema.json").read_text(encoding="utf-8"))
    return found


def _fields(schema: Schema, names: dict[str, list[str]]) -> Iterator[tuple[str, Schema]]:
    """Yield every setting with its schema; of the tables of plugins, those of the plugins `names`."""
    found: dict[str, Schema] = {}
    for key, item in _inside(schema, ""):
        if key.partition(".")[0] not in TABLES:
            found.setdefault(key, item)
    for table, plugins in names.items():
        found[table] = {**schema["properties"][table], "properties": {"": {}}}
        for name in plugins:
            properties = {**_own(schema, table), **_options(schema, table, name)}
            for key, item in _inside({"properties": properties}, f"{table}."):
                found.setdefault(key, item)
    yield from found.items()


def _inside(schema: Schema, prefix: str) -> Iterator[tuple[str, Schema]]:
    for name, item in schema.get("properties", {}).items():
        yield f"{prefix}{name}", item
        for branch in _branches(item):
            yield from _inside(branch, f"{prefix}{name}.")


def _branches(schema: Schema) -> list[Schema]:
    return schema.get("anyOf") or [schema] if not schema.get("properties") else [schema]


def _is_value(schema: Schema) -> bool:
    """Return whether a setting can be given a value by itself, not only its keys."""
    return any(not branch.get("properties") for branch in _branches(schema))


def _choices(schema: Schema, table: str) -> Iterator[tuple[str, Schema]]:
    key, _ = TABLES[table]
    for choice in schema["properties"][table].get("allOf", []):
        name = choice.get("if", {}).get("properties", {}).get(key, {}).get("const")
        if isinstance(name, str):
            yield name, choice.get("then", {}).get("properties", {})


def _own(schema: Schema, table: str) -> Schema:
    """Return the keys of a table that are rl2's own, whatever plugin it names."""
    _, default = TABLES[table]
    properties = next(properties for name, properties in _choices(schema, table) if name == default)
    return {key: properties[key] for key in OWN_KEYS[table] if key in properties}


def _builtin(schema: Schema, table: str) -> list[str]:
    return [name for name, _ in _choices(schema, table)]


def _others(schema: Schema, table: str) -> list[str]:
    known = _builtin(schema, table)
    return [name for name in _registry(table).names() if name not in known]


def _options(schema: Schema, table: str, name: str) -> Schema:
    """Return the schema of each option of a plugin; none where it is not known, or does not work."""
    for known, properties in _choices(schema, table):
        if known == name:
            return properties
    with suppress(RL2Error):
        from rl2cli.plugins.inspection import describe

        registry = _registry(table)
        entry = registry.entry(name)
        if entry.is_outside and entry.trusted:
            found: Schema = describe(registry.kind, entry.target, entry.folder).schema.get("properties", {})
            return found
    return {}


def _registry(table: str) -> Any:
    from rl2cli.registry import adapters, algorithms, networks

    return {"env": adapters, "algorithm": algorithms}.get(table, networks)


def _values(key: str, item: Schema, schema: Schema) -> list[str]:
    """Return the values of a setting that has few, as TOML."""
    table, _, name = key.partition(".")
    if table in TABLES and name == TABLES[table][0]:
        return [json.dumps(each) for each in _registry(table).names()]
    if key == "device":
        return ['"auto"', '"cpu"', '"cuda"', '"mps"']
    found: list[Any] = []
    for branch in _branches(item):
        found += [*branch.get("enum", []), *([branch["const"]] if "const" in branch else [])]
        found += [True, False] if branch.get("type") == "boolean" else []
    return list(dict.fromkeys(map(json.dumps, found)))


def _summary(schema: Schema) -> str:
    text = str(schema.get("description", "")).partition(" [")[0].partition(". ")[0].partition(";")[0]
    return text if len(text) <= _SHORT else text[: _SHORT - 1].rsplit(" ", 1)[0] + "…"


def _named_plugins(line: Line) -> dict[str, list[str]]:
    """Return the plugin of each table: that of `--set`, else of the spec or what it extends, else the default."""
    named: dict[str, str] = {}
    for data in _parts(line):
        for table, (key, _) in TABLES.items():
            values = data.get(table)
            name = values.get(key) if isinstance(values, dict) else None
            if isinstance(name, str):
                named.setdefault(table, name)
    found = {table: [named.get(table, default)] for table, (_, default) in TABLES.items()}
    return found if "critic_network" in named else {**found, "critic_network": found["network"]}


def _parts(line: Line) -> Iterable[dict[str, Any]]:
    """Yield what `--set` says, the last first, then the spec on the line, and every file that it extends."""
    import tomli

    for given in reversed(line.options.get("overrides", [])):
        with suppress(ValueError, RecursionError):
            yield tomli.loads(given)
    path = _spec(line)
    for _ in range(MOST_FILES):
        if path is None:
            return
        with suppress(RL2Error, OSError, ValueError, RecursionError):
            from rl2cli.spec.shipped import find_spec, read_spec, shipped_of_name

            file, _ = find_spec(path)
            data = tomli.loads(read_spec(file) if file.is_file() else "")
            yield data
            base = data.get("extends")
            if isinstance(base, str):
                beside = file.parent / base
                path = beside if beside.is_file() else shipped_of_name(Path(base))
                continue
        return


def _spec(line: Line) -> Path | None:
    """Return the spec on the line; of a command that takes a run, what that was made of."""
    from rl2cli.cli.completion_values import run_folder

    if line.command == "infer":
        run = run_folder(line.arguments[0] if line.arguments else "latest")
        return None if run is None else run / "resolved.toml"
    given = next((word for word in line.arguments if word.endswith(".toml")), None)
    return None if given is None else Path(given)
