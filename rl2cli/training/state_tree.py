"""A nested state as named tensors and plain JSON, and back, without pickle.

    {"policy": {"weight": Tensor}, "step": 7, "betas": (0.9, 0.999)}
      tensors  {"policy.weight": Tensor}
      tree     {"policy": {"weight": {"$tensor": "policy.weight"}}, "step": 7, "betas": {"$tuple": [0.9, 0.999]}}

What JSON lacks is an object with one key that begins with `$`: `$tensor`, `$array`, `$scalar`, `$tuple`, `$int`,
`$float`, and `$items` for a dict whose keys are not all plain strings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"

TENSOR_DTYPES = frozenset(
    {torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64}
    | {torch.int8, torch.int16, torch.int32, torch.int64}
    | {torch.float16, torch.bfloat16, torch.float32, torch.float64}
)
_ARRAY_KINDS = "biufc"
_JSON_INT_LIMIT = 2**63
_RESERVED_NAME = "__metadata__"


def flatten(state: object) -> tuple[dict[str, Tensor], JsonValue]:
    """Return the tensors of `state` by name, and the rest as JSON that says where each belongs.

    A state is made of dict (keys str or int), list, tuple, Tensor, numpy array or number, int, float, str, bool and
    None. Tensors are not copied (arrays are); any other mapping comes back as a dict, a Parameter as a Tensor.

    Raises:
        TypeError: something in `state` is of another type; the message says where and which.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _encode(state, "", tensors)


def unflatten(tensors: Mapping[str, Tensor], tree: JsonValue) -> Any:
    """Return the state that `flatten` was given.

    Raises:
        ValueError: `tree` was not made by `flatten`, or names a tensor that is not there.
    """
    try:
        return _decode(tree, tensors)
    except (KeyError, TypeError, AttributeError, RecursionError, RuntimeError) as error:
        raise ValueError(f"malformed state: {type(error).__name__}: {error}") from error


def _encode(value: object, place: str, tensors: dict[str, Tensor]) -> JsonValue:
    if isinstance(value, Tensor):
        return {"$tensor": _store(_checked(value, place), place, tensors)}
    if isinstance(value, np.ndarray | np.generic):
        return _encode_array(value, place, tensors)
    if isinstance(value, Mapping):
        return _encode_mapping(value, place, tensors)
    if type(value) not in _EXACT_TYPES:
        raise _unsupported(value, place)
    if isinstance(value, list | tuple):
        items = [_encode(item, _join(place, index), tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if value is None or isinstance(value, bool | str):
        return value
    return _encode_number(value)


def _encode_number(value: object) -> JsonValue:
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    assert isinstance(value, int)
    # Hexadecimal has no limit on its digits; decimal has one in Python's json.
    return value if -_JSON_INT_LIMIT <= value < _JSON_INT_LIMIT else {"$int": hex(value)}


def _encode_array(value: np.ndarray[Any, Any] | np.generic, place: str, tensors: dict[str, Tensor]) -> JsonValue:
    if value.dtype.kind not in _ARRAY_KINDS:
        raise TypeError(f"{place or 'the state'} is a numpy array of {value.dtype}, which cannot be saved")
    # As bytes, because torch and safetensors lack some of numpy's types and byte orders.
    content = np.array(value, order="C", copy=True).reshape(-1).view(np.uint8)
    name = _store(torch.from_numpy(content), place, tensors)
    tag = "$array" if isinstance(value, np.ndarray) else "$scalar"
    return {tag: [name, value.dtype.str, list(value.shape)]}


def _encode_mapping(value: Mapping[Any, object], place: str, tensors: dict[str, Tensor]) -> JsonValue:
    for key in value:
        if type(key) not in (str, int):
            raise TypeError(f"a key of {place or 'the state'} is a {type(key).__qualname__}, not a str or an int")
    encoded = [(key, _encode(item, _join(place, key), tensors)) for key, item in value.items()]
    if any(isinstance(key, int) or key.startswith("$") for key, _ in encoded):
        return {"$items": [[_encode(key, "", tensors), item] for key, item in encoded]}
    return dict(encoded)


def _checked(tensor: Tensor, place: str) -> Tensor:
    if tensor.layout != torch.strided or tensor.dtype not in TENSOR_DTYPES:
        raise TypeError(f"{place or 'the state'} is a {tensor.layout} tensor of {tensor.dtype}, which cannot be saved")
    return tensor.detach()


def _unsupported(value: object, place: str) -> TypeError:
    kind = type(value)
    return TypeError(f"{place or 'the state'} is a {kind.__module__}.{kind.__qualname__}, which cannot be saved")


def _join(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _store(tensor: Tensor, place: str, tensors: dict[str, Tensor]) -> str:
    """Put the tensor under a name that reads like its place, and return the name."""
    readable = place.encode("utf-8", "backslashreplace").decode() or "state"
    name, count = readable, 1
    while name in tensors or name == _RESERVED_NAME:
        count += 1
        name = f"{readable}~{count}"
    tensors[name] = tensor
    return name


def _decode(node: JsonValue, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(node, list):
        return [_decode(item, tensors) for item in node]
    if not isinstance(node, dict):
        return node
    tag = next(iter(node), "")
    if tag.startswith("$") and len(node) == 1:
        return _DECODERS[tag](node[tag], tensors)
    return {key: _decode(item, tensors) for key, item in node.items()}


def _decode_array(node: Any, tensors: Mapping[str, Tensor]) -> np.ndarray[Any, Any]:
    name, dtype_name, shape = node
    dtype = np.dtype(dtype_name)
    if dtype.kind not in _ARRAY_KINDS:
        raise ValueError(f"malformed state: an array of {dtype}")
    array: np.ndarray[Any, Any] = tensors[name].numpy().view(dtype).reshape(shape).copy()
    return array


def _decode_items(node: Any, tensors: Mapping[str, Tensor]) -> dict[str | int, Any]:
    return {_decode(key, tensors): _decode(item, tensors) for key, item in node}


_EXACT_TYPES = (type(None), bool, int, float, str, list, tuple)
_DECODERS: dict[str, Callable[[Any, Mapping[str, Tensor]], Any]] = {
    "$tensor": lambda node, tensors: tensors[node],
    "$array": _decode_array,
    "$scalar": lambda node, tensors: _decode_array(node, tensors)[()],
    "$tuple": lambda node, tensors: tuple(_decode(item, tensors) for item in node),
    "$int": lambda node, _: int(node, 16),
    "$float": lambda node, _: float(node),
    "$items": _decode_items,
}
