"""What a field of an options model takes, read from its JSON schema and said in words."""

from __future__ import annotations

import copy
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from rl2cli.options import Options
from rl2cli.text import shortened

Schema = dict[str, Any]

_NOUNS = {"integer": "an integer", "number": "a number", "boolean": "true or false", "string": "a string"}


class _LenientGenerator(GenerateJsonSchema):
    """Lets a plugin's own types without a JSON schema through as `{}`, which is anything."""

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> JsonSchemaValue:
        del schema, error_info
        return {}


def model_schema(model: type[Options]) -> Schema:
    """Return the JSON schema of `model` with every reference replaced by what it refers to, without titles."""
    schema = model.model_json_schema(schema_generator=_LenientGenerator)
    inlined = _inlined(schema, schema.get("$defs", {}))
    inlined.pop("$defs", None)
    return copy.deepcopy(inlined)


def _inlined(schema: Schema, definitions: Schema) -> Schema:
    schema = dict(schema)
    if "$ref" in schema:
        target = definitions.get(schema.pop("$ref").rpartition("/")[2], {})
        schema = _inlined(target, definitions) | schema
    schema.pop("title", None)
    for name, value in schema.items():
        if name == "properties":
            fields = {key: _inlined(item, definitions) for key, item in value.items()}
            schema[name] = {key: item for key, item in fields.items() if key != "options" or not _is_bare(item)}
        elif name in ("items", "additionalProperties") and isinstance(value, dict):
            schema[name] = _inlined(value, definitions)
        elif name in ("anyOf", "oneOf", "allOf", "prefixItems"):
            schema[name] = [_inlined(item, definitions) for item in value]
    return schema


def _is_bare(schema: Schema) -> bool:
    """Return whether this is the plain `Options`: where a table of the run spec keeps the model of its plugin."""
    return schema.get("additionalProperties") is False and not schema.get("properties")


def branches(schema: Schema) -> list[Schema]:
    """Return the alternatives of a union, or the schema itself; null, which TOML does not have, left out."""
    found = [branch for item in schema.get("anyOf") or schema.get("oneOf") or [] for branch in branches(item)]
    return [branch for branch in found or [schema] if branch.get("type") != "null"]


def expected(schema: Schema) -> str:
    """Return what a value of `schema` may be, such as `an integer from 1 to 10 or 'auto'`."""
    words = [_expected_branch(branch) for branch in branches(schema)]
    return " or ".join(dict.fromkeys(words)) or "nothing"


def kind(schema: Schema) -> str:
    """Return the type alone, such as `integer or 'auto'`."""
    words = [_kind_of_branch(branch) for branch in branches(schema)]
    return " or ".join(dict.fromkeys(words))


def limits(schema: Schema) -> str:
    """Return the bounds of a number, such as `from 1 to 10`, or an empty string."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"from {number(low)} to {number(high)}"
    lower = f"above {number(above)}" if above is not None else f"of at least {number(low)}" if low is not None else ""
    upper = f"below {number(below)}" if below is not None else f"of at most {number(high)}" if high is not None else ""
    return " and ".join(filter(None, (lower, upper)))


def number(value: float) -> str:
    """Return a number as one would write it in TOML, large powers of two as such."""
    if value != int(value):
        return repr(value)
    whole = int(value)
    if whole >= 2**32 and whole.bit_count() == 1:
        return f"2^{whole.bit_length() - 1}"
    return f"{whole:_}" if abs(whole) >= 10_000 else str(whole)


def got(value: object) -> str:
    """Return a short description of a TOML value that was not expected."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the string '{shortened(value, 40)}'"
    if isinstance(value, list):
        return f"an array of {len(value)} items"
    if isinstance(value, dict):
        return "a table"
    return shortened(repr(value), 40)


def allowed_values(schema: Schema) -> list[Any]:
    """Return every literal value that `schema` names."""
    return [value for branch in branches(schema) for value in _literals(branch)]


def _literals(branch: Schema) -> list[Any]:
    return list(branch.get("enum", [branch["const"]] if "const" in branch else []))


def _expected_branch(branch: Schema) -> str:
    literals = _literals(branch)
    if literals:
        return " or ".join(f"'{value}'" if isinstance(value, str) else repr(value) for value in literals)
    kind_ = branch.get("type", "")
    if kind_ == "array":
        return _expected_array(branch)
    if kind_ == "object":
        names = ", ".join(branch.get("properties", {}))
        return f"a table with {names}" if names else "a table"
    if kind_ == "string" and branch.get("minLength"):
        return "a string that is not empty"
    return " ".join(filter(None, (_NOUNS.get(kind_, "another value"), limits(branch))))


def _expected_array(branch: Schema) -> str:
    if "prefixItems" in branch:
        return f"an array of {len(branch['prefixItems'])} items"
    low, high = branch.get("minItems", 0), branch.get("maxItems")
    size = f" of {low} to {high} items" if high is not None else f" of at least {low} items" if low else ""
    items = branch.get("items")
    return f"an array{size}" + (f", each {expected(items)}" if items else "")


def _kind_of_branch(branch: Schema) -> str:
    literals = _literals(branch)
    if literals:
        return " or ".join(f"'{value}'" if isinstance(value, str) else repr(value) for value in literals)
    kind_ = str(branch.get("type", "any"))
    if kind_ == "array":
        items = branch.get("items")
        return f"array of {kind(items)}" if items else "array"
    return {"object": "table"}.get(kind_, kind_)
