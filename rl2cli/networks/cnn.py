"""Convolutions over an image, then fully connected layers; by default those of Mnih et al. 2015, Nature 518."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F

from rl2cli.errors import UsageError
from rl2cli.keys import Observation
from rl2cli.networks.activations import ACTIVATIONS
from rl2cli.networks.base import BaseNetwork
from rl2cli.networks.cnn_options import CNNOptions
from rl2cli.networks.images import ImageInput, least_size


class CNN(BaseNetwork):
    """Images in, features out; what is `extra` joins behind the convolutions."""

    Options: ClassVar[type[CNNOptions]] = CNNOptions
    options: CNNOptions

    def __init__(self, options: CNNOptions, observation_space: spaces.Space[Any], extra_features: int = 0) -> None:
        super().__init__(options, observation_space, extra_features)
        self.images = ImageInput(observation_space, "cnn")
        kernels = list(zip(options.kernel_sizes, options.strides, strict=True))
        least = least_size(kernels)
        if min(self.images.height, self.images.width) < least:
            raise UsageError(
                f"images of {self.images.height}×{self.images.width} are too small for kernel_sizes "
                f"{options.kernel_sizes} with strides {options.strides}, which need {least}×{least}",
                hint="smaller kernels or strides, fewer convolutions, or a larger image",
                place="network",
            )
        planes = [self.images.channels, *options.channels]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, kernel, stride)
            for (a, b), (kernel, stride) in zip(itertools.pairwise(planes), kernels, strict=True)
        )
        height, width = self.images.height, self.images.width
        for kernel, stride in kernels:
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        widths = [height * width * planes[-1] + extra_features, *options.hidden_sizes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.activation = ACTIVATIONS[options.activation]
        self.out_features = widths[-1]

    def forward(self, observation: Observation, extra: torch.Tensor | None = None) -> torch.Tensor:
        """Return features [B, out_features]."""
        assert isinstance(observation, torch.Tensor)
        planes, scale = self.images(observation), self.images.scale(observation)
        for index, layer in enumerate(self.convolutions):
            assert isinstance(layer, nn.Conv2d)
            weight = layer.weight * scale if index == 0 and scale != 1.0 else layer.weight
            planes = F.conv2d(planes, weight, layer.bias, layer.stride)
            if layer is self.convolutions[-1]:
                planes = planes.flatten(1)  # before the activation, whose gradient meets one layout in memory then
            planes = self.activation(planes)
        features = planes
        if extra is not None:
            features = torch.cat([features, extra], -1)
        for layer in self.layers:
            features = self.activation(layer(features))
        return features
