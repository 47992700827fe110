"""The MLP: what it makes of every observation space, and which ones it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rl2cli.errors import UsageError
from rl2cli.networks.mlp import ACTIVATIONS, MLP, flat_width, flatten
from rl2cli.networks.mlp_options import MLPOptions
from rl2cli.spaces import observation_space, to_tensors

SPACE = spaces.Dict(
    {
        "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
        "choice": spaces.Discrete(3, start=1),
        "choices": spaces.MultiDiscrete([2, 3]),
        "bits": spaces.MultiBinary(2),
        "inner": spaces.Tuple((spaces.Box(0, 9, (2, 2), np.int32),)),
    }
)


def test_flatten_by_hand() -> None:
    raw = {
        "box": np.array([[0.5, -0.5]], np.float32),
        "choice": np.array([3]),
        "choices": np.array([[1, 0]]),
        "bits": np.array([[1, 0]], np.int8),
        "inner": (np.array([[[1, 2], [3, 4]]], np.int32),),
    }
    space = observation_space(SPACE)
    flat = flatten(space, to_tensors(SPACE, raw))
    parts = {"box": [0.5, -0.5], "choice": [0, 0, 1], "choices": [0, 1, 1, 0, 0], "bits": [1, 0], "inner": [1, 2, 3, 4]}
    assert flat.tolist() == [[number for key in space.spaces for number in parts[key]]]
    assert flat_width(space) == 16
    assert flat.dtype == torch.float32


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_same_as_torchs_layers(activation: str, layer_norm: bool) -> None:
    options = MLPOptions(hidden_sizes=[5, 3], activation=activation, layer_norm=layer_norm)
    network = MLP(options, spaces.Box(-1.0, 1.0, (4,), np.float32))
    modules = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "elu": torch.nn.ELU, "gelu": torch.nn.GELU}
    nonlinearity = modules.get(activation, torch.nn.SiLU)()
    features = observation = torch.randn(7, 4)
    for index, layer in enumerate(network.layers):
        features = layer(features)
        features = features if network.norms is None else network.norms[index](features)
        features = nonlinearity(features)
    torch.testing.assert_close(network(observation), features)
    assert features.shape == (7, network.out_features) == (7, 3)
    assert (network.norms is not None) == layer_norm


def test_extra_features_are_joined() -> None:
    network = MLP(MLPOptions(hidden_sizes=[8]), spaces.Box(-1.0, 1.0, (4,), np.float32), extra_features=2)
    observation = torch.randn(3, 4)
    one, other = network(observation, torch.zeros(3, 2)), network(observation, torch.ones(3, 2))
    assert one.shape == (3, 8)
    assert not torch.equal(one, other)
    loss = network(observation, extra := torch.zeros(3, 2, requires_grad=True)).sum()
    assert torch.autograd.grad(loss, extra)[0].abs().sum() > 0


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1.0, 1.0, (3,), np.float32),
        spaces.Box(-1.0, 1.0, (), np.float32),
        spaces.Box(-1.0, 1.0, (4, 2), np.float32),
        spaces.Box(0, 255, (3,), np.uint8),
        spaces.Discrete(4),
        spaces.MultiDiscrete([[2, 3], [4, 5]]),
        spaces.MultiBinary([2, 2]),
        spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)})}),
    ],
    ids=str,
)
def test_every_vector_space_goes_through(space: spaces.Space[Any]) -> None:
    from gymnasium.vector.utils import concatenate, create_empty_array

    batch = concatenate(space, [space.sample() for _ in range(6)], create_empty_array(space, 6))
    network = MLP(MLPOptions(), space)
    features = network(to_tensors(space, batch))
    assert features.shape == (6, 64)
    assert features.isfinite().all()


def test_an_image_is_refused_with_what_can_take_it() -> None:
    with pytest.raises(UsageError, match=r"\(84, 84, 3\)") as caught:
        MLP(MLPOptions(), spaces.Box(0, 255, (84, 84, 3), np.uint8))
    assert '"cnn"' in (caught.value.hint or "")
    with pytest.raises(UsageError, match="Text"):
        MLP(MLPOptions(), spaces.Dict({"words": spaces.Text(5)}))
