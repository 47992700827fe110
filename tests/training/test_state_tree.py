"""A state comes back exactly as it was given, type by type and bit by bit."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, deque
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl2cli.training.state_tree import TENSOR_DTYPES, flatten, unflatten

ARRAY_DTYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8", "c16", ">u4", ">f8"]


def same(left: Any, right: Any) -> bool:
    """Equal in type, structure, order and bits."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, torch.Tensor):
        return bool(left.dtype == right.dtype and left.shape == right.shape and bits(left) == bits(right))
    if isinstance(left, np.ndarray | np.generic):
        return bool(left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes())
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or left.hex() == right.hex()
    return bool(left == right)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def through_json(state: object) -> Any:
    tensors, tree = flatten(state)
    return unflatten(tensors, json.loads(json.dumps(tree, allow_nan=False)))


def arrays() -> st.SearchStrategy[np.ndarray[Any, Any]]:
    shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
    return st.builds(
        lambda dtype, shape, seed: np.random.default_rng(seed).integers(0, 2, shape).astype(dtype),
        st.sampled_from(ARRAY_DTYPES),
        shapes,
        st.integers(0, 99),
    )


def tensors() -> st.SearchStrategy[torch.Tensor]:
    shapes = st.lists(st.integers(0, 3), max_size=3)
    return st.builds(
        lambda dtype, shape, fill: torch.full(shape, fill).to(dtype),
        st.sampled_from(sorted(TENSOR_DTYPES, key=str)),
        shapes,
        st.integers(0, 1),
    )


leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), arrays(), tensors())
keys = st.one_of(st.integers(), st.text(), st.sampled_from(["$tensor", "$items", "a.b", "a", "__metadata__", ""]))
states = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple), st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=60)
@given(states)
def test_round_trip_is_identical(state: object) -> None:
    assert same(through_json(state), state)


@pytest.mark.parametrize(
    "value",
    [
        2**64,
        -(1 << 20_000),
        -0.0,
        5e-324,
        math.inf,
        -math.inf,
        math.nan,
        "\udc80",
        "\x00",
        {"$float": 1},
        {1: 2, "1": 3},
    ],
    ids=range(11),
)
def test_round_trip_of_special_values(value: object) -> None:
    assert same(through_json(value), value)


def test_numpy_scalars_keep_their_type() -> None:
    state = [np.float64(0.1), np.uint32(7), np.bool_(True)]
    assert same(through_json(state), state)


def test_names_that_meet_stay_apart() -> None:
    state = {"a.b": torch.tensor(1), "a": {"b": torch.tensor(2), 0: torch.tensor(3)}, "__metadata__": torch.tensor(4)}
    tensors, _ = flatten(state)
    assert len(tensors) == 4
    assert "__metadata__" not in tensors
    assert same(through_json(state), state)


def test_other_mappings_and_parameters_come_back_plain() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    back = through_json(OrderedDict(weight=parameter))
    assert type(back) is dict
    assert type(back["weight"]) is torch.Tensor
    assert not back["weight"].requires_grad


def test_array_is_copied() -> None:
    array = np.zeros(3)
    tensors, tree = flatten({"a": array})
    array[:] = 1
    assert same(unflatten(tensors, tree)["a"], np.zeros(3))


@pytest.mark.parametrize(
    "value",
    [b"bytes", {1, 2}, deque(), object(), torch.Size([1]), np.array(["text"]), np.array([None]), {(1,): 2}, {True: 1}],
)
def test_what_cannot_be_saved_is_named_with_its_place(value: object) -> None:
    with pytest.raises(TypeError, match=r"optimizer\.0"):
        flatten({"optimizer": [value]})


@pytest.mark.parametrize("tensor", [torch.zeros(1, dtype=torch.complex64), torch.zeros(2, 2).to_sparse()], ids=str)
def test_unusual_tensors_are_named_with_their_place(tensor: torch.Tensor) -> None:
    with pytest.raises(TypeError, match=r"optimizer\.0"):
        flatten({"optimizer": [tensor]})


@pytest.mark.parametrize(
    "tree",
    [
        {"$tensor": "absent"},
        {"$tensor": []},
        {"$nothing": 1},
        {"$array": ["x", "O", [1]]},
        {"$array": ["x", "<f8", [99]]},
        {"$array": ["x", "no such type", [1]]},
        {"$array": 1},
        {"$int": "zz"},
        {"$float": {}},
        {"$items": [[1]]},
        {"$items": [[[], 1]]},
        {"$tuple": 3},
    ],
)
def test_malformed_trees_are_value_errors(tree: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unflatten({"x": torch.zeros(8, dtype=torch.uint8)}, tree)
