"""The residual network of IMPALA (Espeholt et al. 2018, arXiv 1802.01561), for images."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F

from rl2cli.keys import Observation
from rl2cli.networks.base import BaseNetwork
from rl2cli.networks.images import ImageInput
from rl2cli.networks.impala_options import IMPALAOptions


class IMPALA(BaseNetwork):
    """Sections of a convolution, a pooling that halves the image, and residual blocks; then fully connected layers."""

    Options: ClassVar[type[IMPALAOptions]] = IMPALAOptions
    options: IMPALAOptions

    def __init__(self, options: IMPALAOptions, observation_space: spaces.Space[Any], extra_features: int = 0) -> None:
        super().__init__(options, observation_space, extra_features)
        self.images = ImageInput(observation_space, "impala")
        planes = [self.images.channels, *[options.scale * count for count in options.channels]]
        self.sections = nn.ModuleList(Section(a, b, options.blocks) for a, b in itertools.pairwise(planes))
        height, width = self.images.height, self.images.width
        for _ in self.sections:
            height, width = (height + 1) // 2, (width + 1) // 2
        widths = [height * width * planes[-1] + extra_features, *options.hidden_sizes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.out_features = widths[-1]

    def forward(self, observation: Observation, extra: torch.Tensor | None = None) -> torch.Tensor:
        """Return features [B, out_features]."""
        assert isinstance(observation, torch.Tensor)
        planes, scale = self.images(observation), self.images.scale(observation)
        for section in self.sections:
            planes, scale = section(planes, scale), 1.0
        features = planes.flatten(1).relu()  # not before: the gradient meets one layout in memory then
        if extra is not None:
            features = torch.cat([features, extra], -1)
        for layer in self.layers:
            features = layer(features).relu()
        return features


class Section(nn.Module):
    """A convolution, a pooling of 3×3 with stride 2, and residual blocks of two convolutions.

    Args:
        before: Planes that it takes.
        after: Planes that it returns.
        blocks: How many residual blocks.
    """

    def __init__(self, before: int, after: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.pairs = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(after, after, 3, padding=1) for _ in range(2)) for _ in range(blocks)
        )

    def forward(self, planes: torch.Tensor, scale: float) -> torch.Tensor:
        """Return planes [B, after, (H + 1) // 2, (W + 1) // 2] of `planes` [B, before, H, W] times `scale`."""
        weight = self.first.weight if scale == 1.0 else self.first.weight * scale
        planes = F.max_pool2d(F.conv2d(planes, weight, self.first.bias, padding=1), 3, stride=2, padding=1)
        for pair in self.pairs:
            change = planes
            for layer in pair:  # type: ignore[attr-defined]  # a ModuleList is a list of modules
                change = layer(change.relu())
            planes = planes + change
        return planes
