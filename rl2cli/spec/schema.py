"""JSON schema (draft 7) of a run spec with the options of every built-in plugin, for editors.

`python -m rl2cli.spec.schema > runs/schema.json` writes the copy that is shipped; a spec beside it opens with
`#:schema ./schema.json`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydantic_core import to_json

from rl2cli.errors import MissingDependencyError, PluginError
from rl2cli.spec import extends
from rl2cli.spec.fields import Schema, model_schema
from rl2cli.spec.model import RunSpec
from rl2cli.spec.plugin_tables import PLUGIN_TABLES, PluginTable

_OPEN: Schema = {"type": "object", "additionalProperties": True}
"""Of a part of the schema that does not have all keys: Tombi warns of the others where it is not said."""


def json_schema(*, registered: bool = False) -> dict[str, Any]:
    """Return the JSON schema of a run spec; the options of plugins that it does not know are let through.

    Args:
        registered: With the plugins that are known here and now, besides those that come with rl2.
    """
    schema = model_schema(RunSpec)
    properties = schema["properties"]
    known = {table.registry: _known_options(table, registered) for table in PLUGIN_TABLES.values()}
    for name, table in PLUGIN_TABLES.items():
        description = properties[name].get("description", table.model.__doc__)
        properties[name] = {"description": description, **_plugin_table_schema(table, known[table.registry])}
    schema["required"] = [name for name in schema.get("required", []) if name != "name"]
    schema["required"] += [table for table in PLUGIN_TABLES if _has_to_be_there(properties[table])]
    heading = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "rl2 run spec"}
    return {**heading, **_as_draft_7(_with_extends(schema))}


def schema_text(*, registered: bool = False) -> str:
    """Return `json_schema()` as text, that of `runs/schema.json`."""
    return to_json(json_schema(registered=registered), indent=2).decode() + "\n"  # json's own takes as long as the rest


def _with_extends(schema: Schema) -> Schema:
    """Return `schema` with what has to be there, and plugins that are used unnamed, only for specs that extend none."""
    properties: Schema = {extends.KEY: {"type": "string", "minLength": 1, "description": extends.DESCRIPTION}}
    properties |= schema["properties"]
    whole: Schema = {**_OPEN, "required": schema["required"], "properties": {}}
    for table in PLUGIN_TABLES:
        choices, key = properties[table]["allOf"], PLUGIN_TABLES[table].name_key
        properties[table] = properties[table] | {"allOf": [_if_named(choice, key) for choice in choices]}
        strict = [choice for choice in choices if not choice["if"].get("required") or choice["then"].get("required")]
        whole["properties"][table] = {**_OPEN, "allOf": strict}
    extends_none = {"not": {"required": [extends.KEY]}, **_OPEN}
    return schema | {"properties": properties, "required": [], "if": extends_none, "then": whole}


def _if_named(choice: Schema, key: str) -> Schema:
    then = {name: value for name, value in choice["then"].items() if name != "required"}
    return {"if": choice["if"] | {"required": [key]}, "then": then}


def _plugin_table_schema(table: PluginTable, known: dict[str, Schema]) -> Schema:
    """Return the schema of a table whose keys depend on the plugin that it names.

    `allOf` says what is right. Every table fits the last schema of `anyOf`, so that refuses nothing: editors look
    there, and neither below `if` nor any further where `properties` stands beside it, for what to offer.
    """
    own = model_schema(table.model)["properties"]
    own[table.name_key] = own[table.name_key] | {"examples": list(known)}
    other: Schema = {"not": {"enum": list(known)}}
    of_others = {"if": {"properties": {table.name_key: other}, "required": [table.name_key]}}
    choices = [_choice(table, own, name, options) for name, options in known.items()]
    offers = [_offer(table, own, name, options) for name, options in known.items()]
    offers.append({"type": "object", "properties": {**own, table.name_key: own[table.name_key] | other}})
    return {
        "type": "object",
        "allOf": [*choices, {**of_others, "then": {"properties": own}}],
        "anyOf": [*offers, {"type": "object"}],
    }


def _known_options(table: PluginTable, registered: bool) -> dict[str, Schema]:
    """Return the schema of each plugin's options, that of the default one first: editors offer its name first."""
    entries = [entry for entry in table.registry.entries() if registered or entry.origin == "built in"]
    found: dict[str, Schema] = {}
    for name in sorted({entry.name for entry in entries}, key=lambda name: (name != table.default_name, name)):
        with suppress(PluginError, MissingDependencyError):  # one that does not work has no options
            found[name] = model_schema(table.registry.options(name))
    return found


def _choice(table: PluginTable, own: Schema, name: str, options: Schema) -> Schema:
    """Return what holds for a table that names this plugin, or, of the default one, names none."""
    named: Schema = {"properties": {table.name_key: {"const": name}}}
    if name != table.default_name:
        named["required"] = [table.name_key]
    then = {
        "properties": own | options.get("properties", {}),
        "required": options.get("required", []),
        "additionalProperties": False,
    }
    return {"if": named, "then": then}


def _offer(table: PluginTable, own: Schema, name: str, options: Schema) -> Schema:
    """Return what an editor offers in a table that names this plugin."""
    properties = {**own, table.name_key: {"const": name}, **options.get("properties", {})}
    return {"type": "object", "properties": properties}


def _has_to_be_there(table: Schema) -> bool:
    """Return whether the plugin that is used where none is named has options without a default."""
    return any(not choice["if"].get("required") and choice["then"].get("required") for choice in table["allOf"])


def _as_draft_7(schema: Any) -> Any:
    """Return `schema` with the keywords that came after draft 7 replaced, and defaults of null left out."""
    if isinstance(schema, list):
        return [_as_draft_7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _as_draft_7(value) for key, value in schema.items() if (key, value) != ("default", None)}
    if isinstance(found.get("prefixItems"), list):
        found["items"] = found.pop("prefixItems")
    if isinstance(found.get("anyOf"), list):
        found["anyOf"] = [branch for branch in found["anyOf"] if branch != {"type": "null"}]
        if len(found["anyOf"]) == 1:  # editors say what is wrong with a value that has one shape
            [only] = found.pop("anyOf")
            found = {**only, **found}
    return found


if __name__ == "__main__":
    print(schema_text(), end="")
