from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rl2cli.errors import UsageError
from rl2cli.spaces import (
    ActionLeaf,
    action_dtype,
    action_leaves,
    action_shape,
    allocate,
    mask_width,
    observation_space,
    sample_actions,
    to_backend,
    to_backend_batch,
    to_backend_rows,
    to_tensors,
)

BOX = spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 5.0], np.float32))
COMPOSITE = spaces.Dict(
    {
        "turn": spaces.Discrete(3, start=10),
        "aim": spaces.Tuple((BOX, spaces.MultiBinary(2))),
        "mode": spaces.MultiDiscrete([[2, 3], [4, 5]]),
    }
)
ACTIONS = [
    spaces.Discrete(4),
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([2, 5, 3], start=[1, 0, 2]),
    spaces.MultiDiscrete([[2, 3], [4, 5]]),
    spaces.MultiBinary((2, 3)),
    BOX,
    spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    spaces.Box(0, 7, (3,), np.int32),
    COMPOSITE,
]


@pytest.mark.parametrize("space", ACTIONS, ids=str)
def test_sampled_actions_have_the_declared_form_and_lie_in_the_space(space: spaces.Space[Any]) -> None:
    actions = sample_actions(space, 50, np.random.default_rng(0))
    assert actions.shape == (50, *action_shape(space))
    assert actions.dtype == action_dtype(space)
    rows = to_backend_rows(space, actions.numpy())
    assert all(space.contains(row) for row in rows)
    one = to_backend(space, actions[7].numpy())
    assert space.contains(one)
    assert repr(one) == repr(rows[7])


def test_composite_actions_are_side_by_side_in_gymnasium_s_order() -> None:
    row = {"turn": [2.0], "aim": [-3.0, 4.5, 1.0, 0.0], "mode": [1.0, 2.0, 3.0, 4.0]}
    vector = np.concatenate([row[key] for key in COMPOSITE]).astype(np.float32)
    action = to_backend(COMPOSITE, vector)
    assert action["turn"] == 12
    np.testing.assert_array_equal(action["aim"][0], [-1.0, 4.5])
    np.testing.assert_array_equal(action["aim"][1], [1, 0])
    np.testing.assert_array_equal(action["mode"], [[1, 2], [3, 4]])
    batch = to_backend_batch(COMPOSITE, np.stack([vector, vector]))
    assert batch["turn"].tolist() == [12, 12]
    assert batch["mode"].shape == (2, 2, 2)


def test_leaves_say_where_each_number_is() -> None:
    leaves = action_leaves(spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2), BOX)))
    assert leaves == (
        ActionLeaf("categorical", 0, 1, (3,), (), (), ()),
        ActionLeaf("bernoulli", 1, 2, (), (), (), (2,)),
        ActionLeaf("normal", 3, 2, (), (-1.0, 0.0), (1.0, 5.0), (2,)),
    )
    assert mask_width(spaces.MultiDiscrete([2, 5])) == 7


def test_box_actions_are_clipped_and_whole_ones_rounded() -> None:
    np.testing.assert_array_equal(to_backend(BOX, np.array([-9.0, 9.0], np.float32)), [-1.0, 5.0])
    whole = to_backend(spaces.Box(0, 7, (2,), np.int32), np.array([2.6, 99.0], np.float32))
    assert whole.dtype == np.int32
    assert whole.tolist() == [3, 7]


def test_observation_space_is_what_the_tensors_are() -> None:
    raw = spaces.Tuple(
        (
            spaces.Discrete(5, start=3),
            spaces.Dict(
                {
                    "double": spaces.Box(-1e300, np.inf, (2,), np.float64),
                    "image": spaces.Box(0, 255, (4, 4, 3), np.uint8),
                    "small": spaces.Box(-5, 5, (1,), np.int8),
                    "multi": spaces.MultiDiscrete([2, 3], start=[7, 8]),
                    "bits": spaces.MultiBinary((2, 2)),
                }
            ),
        )
    )
    space = observation_space(raw)
    assert isinstance(space, spaces.Dict)
    assert space["0"] == spaces.Discrete(5)
    assert space["1"]["double"] == spaces.Box(-np.inf, np.inf, (2,), np.float32)
    assert space["1"]["multi"] == spaces.MultiDiscrete([2, 3])
    raw.seed(0)
    samples = [raw.sample() for _ in range(6)]
    for _, parts in samples:
        parts["double"] = np.array([0.1, -2.5])
    batch = (np.array([each[0] for each in samples]), {k: np.stack([each[1][k] for each in samples]) for k in raw[1]})
    tensors = to_tensors(raw, batch)
    zeros = allocate(space, (6,))
    assert isinstance(tensors, dict)
    assert isinstance(zeros, dict)
    assert tensors["0"].tolist() == [each[0] - 3 for each in samples]
    assert tensors["1"]["multi"].tolist() == [(each[1]["multi"] - [7, 8]).tolist() for each in samples]
    for key in raw[1]:
        assert tensors["1"][key].dtype == zeros["1"][key].dtype
        assert tensors["1"][key].shape == zeros["1"][key].shape
    dtypes = {key: tensor.dtype for key, tensor in tensors["1"].items()}
    whole = torch.int64
    assert dtypes == {"double": torch.float32, "image": torch.uint8, "small": whole, "multi": whole, "bits": whole}
    assert observation_space(space) == space


def test_plain_observations_share_memory_unless_they_cannot() -> None:
    space = spaces.Box(-1, 1, (3,), np.float32)
    raw = np.zeros((2, 3), np.float32)
    tensor = to_tensors(space, raw)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.data_ptr() == raw.ctypes.data
    raw.flags.writeable = False
    copy = to_tensors(space, raw)
    assert isinstance(copy, torch.Tensor)
    assert copy.data_ptr() != raw.ctypes.data


@pytest.mark.parametrize("space", [spaces.Text(5), spaces.Dict({"a": spaces.Sequence(spaces.Discrete(2))})])
def test_unsupported_spaces_are_refused_with_those_that_are(space: spaces.Space[Any]) -> None:
    for refuse in (observation_space, action_leaves):
        with pytest.raises(UsageError, match=r"space (Text|Sequence) is not supported") as caught:
            refuse(space)
        assert caught.value.hint == "supported: Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these"
