"""Networks for images: the same as torch's layers, which images they take, and which they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from rl2cli.errors import UsageError
from rl2cli.networks.base import BaseNetwork
from rl2cli.networks.cnn import CNN
from rl2cli.networks.cnn_options import CNNOptions
from rl2cli.networks.images import ImageInput, least_size
from rl2cli.networks.impala import IMPALA
from rl2cli.networks.impala_options import IMPALAOptions
from rl2cli.networks.multi import Multi
from rl2cli.networks.multi_options import MultiOptions

ATARI = spaces.Box(0, 255, (4, 84, 84), np.uint8)
SMALL = CNNOptions(channels=[3, 5], kernel_sizes=[4, 3], strides=[2, 1], hidden_sizes=[16], activation="elu")
TINY = IMPALAOptions(channels=[3, 4], hidden_sizes=[5])


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_the_nature_network_is_torchs_layers() -> None:
    network = CNN(CNNOptions(), ATARI)
    modules: list[nn.Module] = []
    for layer in network.convolutions:
        modules += [layer, nn.ReLU()]
    modules.append(nn.Flatten())
    for layer in network.layers:
        modules += [layer, nn.ReLU()]
    images = pixels(2, 4, 84, 84)
    expected = nn.Sequential(*modules)(images.float() / 255.0)
    torch.testing.assert_close(network(images), expected)
    assert network(images).shape == (2, 512)
    assert sum(parameter.numel() for parameter in network.parameters()) == 8_224 + 32_832 + 36_928 + 1_606_144


def test_the_residual_network_is_torchs_layers() -> None:
    network = IMPALA(TINY, spaces.Box(0, 255, (2, 9, 7), np.uint8))
    images = pixels(3, 2, 9, 7)
    planes = images.float() / 255.0
    for section in network.sections:
        planes = nn.MaxPool2d(3, 2, 1)(section.first(planes))
        for first, second in section.pairs:
            planes = planes + second(nn.ReLU()(first(nn.ReLU()(planes))))
    assert planes.shape == (3, 4, 3, 2)  # 9 × 7 halved twice, rounded up
    expected = nn.ReLU()(network.layers[0](nn.ReLU()(planes).flatten(1)))
    torch.testing.assert_close(network(images), expected)


def test_the_large_network_of_impala_has_its_size() -> None:
    network = IMPALA(IMPALAOptions(), ATARI)
    count = sum(parameter.numel() for parameter in network.sections.parameters())
    assert count == (4 * 9 + 1) * 16 + 4 * 2_320 + (16 * 9 + 1) * 32 + 8 * 9_248 + 9_248
    assert IMPALA(IMPALAOptions(scale=2), ATARI).sections[2].first.weight.shape == (64, 64, 3, 3)


@pytest.mark.parametrize(
    ("shape", "planes"),
    [
        ((6, 7), (1, 6, 7)),
        ((6, 7, 3), (3, 6, 7)),
        ((4, 6, 7), (4, 6, 7)),
        ((2, 6, 7, 3), (6, 6, 7)),
        ((3, 6, 5), (3, 6, 5)),
    ],
)
def test_axes_become_planes(shape: tuple[int, ...], planes: tuple[int, ...]) -> None:
    images = ImageInput(spaces.Box(0, 255, shape, np.uint8), "cnn")
    values = pixels(2, *shape)
    result = images(values)
    assert result.shape == (2, *planes)
    assert (images.channels, images.height, images.width) == planes
    assert result.is_contiguous(memory_format=torch.channels_last)
    if len(shape) == 4:
        assert result[1, 3 * 1 + 2, 4, 6] == values[1, 1, 4, 6, 2]  # frame 1, colour 2
    elif shape[-1] == 3:
        assert result[1, 2, 4, 6] == values[1, 4, 6, 2]


def test_floats_in_the_unit_interval_are_taken_as_they_are() -> None:
    space = spaces.Box(0.0, 1.0, (3, 12, 12), np.float32)
    network = CNN(SMALL, space)
    twin = CNN(SMALL, spaces.Box(0, 255, (3, 12, 12), np.uint8))
    twin.load_state_dict(network.state_dict())
    images = pixels(2, 3, 12, 12)
    torch.testing.assert_close(network(images.float() / 255.0), twin(images))


def make_multi(options: MultiOptions, extra: int = 0) -> tuple[Multi, dict[str, Any]]:
    space = spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (12, 12, 3), np.uint8),
            "robot": spaces.Dict({"joints": spaces.Box(-1.0, 1.0, (4,), np.float32), "mode": spaces.Discrete(3)}),
        }
    )
    observation = {
        "camera": pixels(5, 12, 12, 3),
        "robot": {"joints": torch.randn(5, 4), "mode": torch.tensor([0, 1, 2, 0, 1])},
    }
    return Multi(options, space, extra), observation


def test_every_input_reaches_the_joint_features() -> None:
    network, observation = make_multi(MultiOptions(cnn=SMALL, vector_sizes=[32], hidden_sizes=[64]), extra=2)
    extra = torch.randn(5, 2)
    features = network(observation, extra)
    assert features.shape == (5, network.out_features) == (5, 64)
    changes = [
        ({**observation, "camera": 255 - observation["camera"]}, extra),
        ({**observation, "robot": {**observation["robot"], "joints": torch.randn(5, 4)}}, extra),
        ({**observation, "robot": {**observation["robot"], "mode": torch.full((5,), 2)}}, extra),
        (observation, extra + 1.0),
    ]
    for changed, action in changes:
        assert not torch.equal(network(changed, action), features)


def test_keys_that_are_left_out_are_not_seen() -> None:
    options = MultiOptions(cnn=SMALL, hidden_sizes=[16], observations=["camera", "robot.joints"])
    network, observation = make_multi(options)
    features = network(observation)
    observation["robot"]["mode"] += 0 * observation["robot"]["mode"] + 1
    assert torch.equal(network(observation), features)
    whole, _ = make_multi(MultiOptions(cnn=SMALL, observations=["robot"]))
    assert len(whole.encoders) == 0
    assert whole.vector_layers[0].in_features == 4 + 3


def test_impala_may_encode_the_images() -> None:
    network, observation = make_multi(MultiOptions(impala=TINY))
    assert isinstance(network.encoders[0], IMPALA)
    assert network(observation).shape == (5, 256)


@pytest.mark.parametrize("make", [CNN, IMPALA])
def test_an_action_joins_behind_the_convolutions(make: type[BaseNetwork]) -> None:
    options = SMALL if make is CNN else TINY
    network = make(options, spaces.Box(0, 255, (1, 12, 12), np.uint8), 3)
    images = pixels(2, 1, 12, 12)
    one, other = (network(images, torch.full((2, 3), value)) for value in (0.0, 1.0))
    assert one.shape == (2, network.out_features)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("make", "space", "message", "hint"),
    [
        (CNN, spaces.Box(-1.0, 1.0, (4,), np.float32), r"takes images, not an observation of shape \(4,\)", '"mlp"'),
        (IMPALA, spaces.Discrete(3), "takes images, not an observation of type Discrete", '"mlp"'),
        (CNN, spaces.Box(0.0, 255.0, (3, 84, 84), np.float32), r"floats in \[0, 1\].*from 0 to 255", "uint8"),
        (CNN, spaces.Box(-np.inf, np.inf, (3, 84, 84), np.float32), "from -inf to inf", "uint8"),
        (CNN, spaces.Box(0, 255, (4, 20, 40), np.uint8), "images of 20×40 are too small.*need 36×36", "larger image"),
        (Multi, ATARI, "takes a Dict of observations", '"cnn"'),
        (Multi, spaces.Box(-1.0, 1.0, (4,), np.float32), "takes a Dict of observations", '"mlp"'),
    ],
)
def test_bad_input_says_what_fits(make: type[BaseNetwork], space: spaces.Space[Any], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make(make.Options(), space)
    assert hint in (caught.value.hint or "")


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="names 'camra', which is not in the observation") as caught:
        make_multi(MultiOptions(observations=["camra"]))
    assert "camera" in (caught.value.hint or "")
    assert caught.value.place == "network.observations"


def test_least_size_by_hand() -> None:
    assert least_size([(8, 4), (4, 2), (3, 1)]) == 36  # 3 → 8 → 36
    assert least_size([(3, 1)]) == 3
