"""Changing a task's configuration from a spec: data only, never code, and only what the task has."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from enum import Enum
from typing import Any

from rl2cli.errors import UsageError, nearest
from rl2cli.text import shortened

_PLAIN = (bool, int, float, str)
_LONGEST_SHOWN = 100
_CODE_FILES = (".pt", ".pth", ".jit", ".pkl", ".pickle", ".py", ".so", ".dll")
"""What runs code when it is loaded."""
_CODE_KEYS = ("func", "class_type", "entry_point")
_OWN_CLASS = 'set it in a configuration class of your own, and name that: id = "module:ConfigurationClass"'


_FLOAT = ("float", str(float))
"""How a number that need not be whole is annotated; its default may be written as a whole one."""


def apply_overrides(configuration: Any, table: Mapping[str, Any], path: str = "env.config") -> None:
    """Set the values of `table` in `configuration`, part by part.

    Isaac Lab's own way evaluates strings that look like lambdas and imports those that name a function, so it is not
    used: a setting that holds code, or could, is refused, whatever the value.

    Raises:
        UsageError: A key is unknown, holds code, or has another type.
    """
    for key, value in table.items():
        place = f"{path}.{key}"
        current = _current(configuration, key, place)
        if isinstance(value, Mapping) and _is_part(current):
            apply_overrides(current, value, place)
        else:
            _set(configuration, key, _fitting(current, value, _annotation(configuration, key), place))


def keys_of(configuration: Any) -> list[str]:
    """Return the settings of a part of a configuration."""
    names = configuration if isinstance(configuration, dict) else vars(configuration)
    return [str(name) for name in names if not str(name).startswith("_")]


def _current(configuration: Any, key: str, place: str) -> Any:
    known = keys_of(configuration)
    if key not in known:
        near = nearest(key, known)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are: {', '.join(sorted(known))}"
        raise UsageError(f"the task's configuration has no {key!r} there", hint=hint, place=place)
    return configuration[key] if isinstance(configuration, dict) else getattr(configuration, key)


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) or hasattr(value, "__dataclass_fields__")


def _annotation(configuration: Any, key: str) -> str:
    found = (inspect.get_annotations(one) for one in type(configuration).__mro__)
    return next((str(each[key]) for each in found if key in each), "")


def _fitting(current: Any, value: Any, annotation: str, place: str) -> Any:
    """Return `value` as the kind of thing that `current` is."""
    key = place.rpartition(".")[2]
    holds_code = callable(current) or (type(current) not in (*_PLAIN, type(None)) and isinstance(current, str))
    if holds_code or key in _CODE_KEYS or (key.endswith("_type") and current is None):
        raise UsageError(f"{key} is code, which a spec cannot set", hint=_OWN_CLASS, place=place)
    _require_data(value, annotation, current, place)
    if isinstance(current, Enum):
        return _member(type(current), value, place)
    if isinstance(current, bool) or isinstance(value, bool):
        fits = isinstance(value, bool) and (current is None or isinstance(current, bool))
    elif isinstance(current, float) or (isinstance(current, int) and annotation in _FLOAT):
        fits, value = isinstance(value, int | float), float(value) if isinstance(value, int | float) else value
    elif isinstance(current, list | tuple):
        fits, value = isinstance(value, list), type(current)(value) if isinstance(value, list) else value
    else:
        fits = current is None or (isinstance(value, type(current)) and not _is_part(current))
    if not fits:
        raise UsageError(f"{key} is {_kind(current)}, not {_kind(value)}", hint=_current_hint(current), place=place)
    return value


def _current_hint(current: Any) -> str:
    if _is_part(current):
        return f"write a table with what is in it: {', '.join(keys_of(current))}"
    return f"the task has {shortened(repr(current), _LONGEST_SHOWN)} there"


def _require_data(value: Any, annotation: str, current: Any, place: str) -> None:
    """Refuse strings that Isaac Lab could take for code, and anything that is not data."""
    if isinstance(value, list):
        for each in value:
            _require_data(each, "", "", place)
        return
    if not isinstance(value, _PLAIN):
        raise UsageError(
            "a setting is a number, a string, a boolean or a list of them",
            hint="a table can be written only where the configuration has a part of that name",
            place=place,
        )
    if not isinstance(value, str):
        return
    could_be = "Callable" in annotation or "type[" in annotation
    looks_like = value.lstrip().startswith("lambda") or (current is None and ":" in value and "://" not in value)
    if could_be or looks_like or value.lower().endswith(_CODE_FILES):
        raise UsageError(f"{value!r} would be run as code, which a spec cannot set", hint=_OWN_CLASS, place=place)


def _member(kind: type[Enum], value: Any, place: str) -> Enum:
    for member in kind:
        if value in (member.value, member.name):
            return member
    raise UsageError(f"there is no {value!r}", hint=f"there are: {', '.join(m.name for m in kind)}", place=place)


def _set(configuration: Any, key: str, value: Any) -> None:
    if isinstance(configuration, dict):
        configuration[key] = value
    else:
        setattr(configuration, key, value)


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "a whole number", float: "a number", str: "a string", dict: "a table"}
    if isinstance(value, list | tuple):
        return "a list"
    return names.get(type(value), f"a {type(value).__name__}")
