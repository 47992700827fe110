"""The options of a model as rows of a table, for `rl2 show` and the README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import tomli_w

from rl2cli.options import Options
from rl2cli.spec.fields import Schema, branches, kind, limits, model_schema

_SOURCE = re.compile(r"\[([^\]]+)\] ([^;]+)")
_SENTENCE_END = re.compile(r"\.\s+(?=[A-Z])")


@dataclass(frozen=True)
class OptionRow:
    """One option, in words."""

    name: str
    """Dotted where it is a key of a table, such as `learning_rate.start`."""
    type: str
    """Such as `integer or 'auto'`."""
    default: str
    """As one would write it in TOML; `required`, or empty where there is none."""
    allowed: str
    """Bounds of numbers; empty where the type says it all."""
    description: str


def option_rows(model: type[Options]) -> list[OptionRow]:
    """Return a row for each option of `model`, those inside tables behind their table."""
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
        if not field.is_required() and not field.default_factory_takes_validated_data
    }
    return list(_rows(model_schema(model), defaults, ""))


def option_sources(model: type[Options]) -> dict[str, str]:
    """Return what the short names in brackets stand for, `PPO` → `Schulman et al. 2017, …`, in the order of the text.

    An options model has them in its docstring: `Sources: [PPO] Schulman et al. 2017; [SB3] …`.
    """
    found: dict[str, str] = {}
    for part in [*_inner_models(model), *reversed(model.__mro__)]:
        if issubclass(part, Options):
            text = " ".join((part.__doc__ or "").partition("Sources:")[2].split())
            found |= {name: _SENTENCE_END.split(source)[0].rstrip(".") for name, source in _SOURCE.findall(text)}
    return found


def _inner_models(model: type[Options]) -> list[type[Any]]:
    """Return the models of tables inside a plugin's table, such as `[env.atari]`."""
    kinds = [kind for field in model.model_fields.values() for kind in get_args(field.annotation)]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Options)]


def cited(description: str) -> list[str]:
    """Return the names of the sources that a description ends with: of `Discount [PPO; 37, detail 3].` PPO and 37."""
    bracket = re.search(r"\[([^\]]+)\]\.?$", description)
    return [] if bracket is None else [re.split(r"[,:]", each)[0].strip() for each in bracket[1].split(";")]


def _rows(schema: Schema, defaults: dict[str, Any], prefix: str) -> Iterator[OptionRow]:
    required = schema.get("required", [])
    for name, item in schema.get("properties", {}).items():
        default = "required" if name in required else as_toml(defaults.get(name, item.get("default")))
        yield OptionRow(f"{prefix}{name}", kind(item), default, _allowed(item), item.get("description", ""))
        for branch in branches(item):
            yield from _rows(branch, {}, f"{prefix}{name}.")


def _allowed(schema: Schema) -> str:
    found = [limits(branch) or limits(branch.get("items") or {}) for branch in branches(schema)]
    return " or ".join(dict.fromkeys(filter(None, found))).replace("of at", "at")


def as_toml(value: Any) -> str:
    """Return a value as one would write it behind the equals sign; empty for None."""
    if value is None:
        return ""
    if isinstance(value, Options):
        value = value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(as_toml(item) for item in value) + "]"
    return tomli_w.dumps({"key": value}).removeprefix("key = ").rstrip("\n")
