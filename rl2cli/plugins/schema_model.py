"""A JSON schema back into an options model, so that specs are checked without importing the plugin."""

from __future__ import annotations

import copy
from typing import Any, Literal, Union

from pydantic import Field, create_model

from rl2cli.options import Options

_SIMPLE: dict[str, Any] = {"integer": int, "number": float, "string": str, "boolean": bool, "null": None}
_BOUNDS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
}


class _Described(Options):
    """An options model made from a schema."""


def model_from_schema(schema: dict[str, Any], name: str = "Options") -> type[Options]:
    """Return a model that takes what `schema` allows, and whose own schema it is; checks in code are not in it."""
    required = schema.get("required", [])
    fields = {key: _field(item, key in required) for key, item in schema.get("properties", {}).items()}
    model = create_model(name, __base__=_Described, __doc__=schema.get("description"), **fields)
    original = copy.deepcopy(schema)

    def model_json_schema(*arguments: Any, **named: Any) -> dict[str, Any]:
        del arguments, named
        return copy.deepcopy(original)

    model.model_json_schema = model_json_schema  # type: ignore[method-assign]  # the plugin's own, with every sentence
    return model


def _field(schema: dict[str, Any], required: bool) -> Any:
    description = schema.get("description")
    if required:
        return _annotation(schema), Field(description=description)
    default = schema.get("default")
    annotation = _annotation(schema) if default is not None else Union[_annotation(schema), None]  # noqa: UP007
    return annotation, Field(default=_as_default(default), description=description)


def _as_default(value: Any) -> Any:
    return tuple(map(_as_default, value)) if isinstance(value, list) else value


def _annotation(schema: dict[str, Any]) -> Any:
    if "enum" in schema or "const" in schema:
        return Literal[tuple(schema.get("enum", [schema.get("const")]))]
    branches = schema.get("anyOf") or schema.get("oneOf")
    if branches:
        return Union[tuple(_annotation(branch) for branch in branches)]  # noqa: UP007
    kind = schema.get("type")
    bounds = {word: schema[key] for key, word in _BOUNDS.items() if key in schema}
    found = _container(kind, schema) if kind in ("array", "object") else _SIMPLE.get(str(kind), Any)
    return _bounded(found, bounds)


def _container(kind: str, schema: dict[str, Any]) -> Any:
    if kind == "array":
        items = schema.get("items")
        item: Any = _annotation(items) if isinstance(items, dict) else Any
        return tuple.__class_getitem__((item, ...))
    if schema.get("properties"):
        return model_from_schema(schema, "Table")
    values = schema.get("additionalProperties")
    return dict.__class_getitem__((str, _annotation(values) if isinstance(values, dict) else Any))


def _bounded(annotation: Any, bounds: dict[str, Any]) -> Any:
    from typing import Annotated

    return Annotated[annotation, Field(**bounds)] if bounds and annotation is not Any else annotation
