"""The multi-layer perceptron: vectors, discrete and composite observations in, features out."""

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
from rl2cli.networks.mlp_options import MLPOptions


class MLP(BaseNetwork):
    """Fully connected layers over everything in the observation, flattened and joined; discrete leaves are one-hot."""

    Options: ClassVar[type[MLPOptions]] = MLPOptions

    def __init__(self, options: MLPOptions, observation_space: spaces.Space[Any], extra_features: int = 0) -> None:
        super().__init__(options, observation_space, extra_features)
        widths = [flat_width(observation_space) + extra_features, *options.hidden_sizes]
        self._linears = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
        self.layers = nn.ModuleList(self._linears)
        self.norms = nn.ModuleList(nn.LayerNorm(b) for b in widths[1:]) if options.layer_norm else None
        self.activation = ACTIVATIONS[options.activation]
        self.out_features = widths[-1]

    def forward(self, observation: Observation, extra: torch.Tensor | None = None) -> torch.Tensor:
        """Return features [B, out_features]."""
        features = flatten(self.observation_space, observation)  # [B, width]
        if extra is not None:
            features = torch.cat([features, extra], -1)
        for index, layer in enumerate(self._linears):
            features = linear(layer, features)
            if self.norms is not None:
                features = self.norms[index](features)
            features = self.activation(features)
        return features


def linear(layer: nn.Linear, features: torch.Tensor) -> torch.Tensor:
    """Return `layer(features)`; of small layers a module's call and its look-ups cost more than the product."""
    parameters = layer._parameters
    weight = parameters.get("weight")
    if weight is None:  # somebody has put other tensors in the parameters' place, as torchrl's losses do
        functional: torch.Tensor = layer(features)
        return functional
    return F.linear(features, weight, parameters["bias"])


def flat_width(space: spaces.Space[Any]) -> int:
    """Return how many numbers `flatten` makes of an observation of `space`.

    Raises:
        UsageError: A leaf is an image, or of a kind that an MLP cannot take.
    """
    if isinstance(space, spaces.Dict):
        return sum(flat_width(child) for child in space.spaces.values())
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    if isinstance(space, spaces.MultiBinary) or (isinstance(space, spaces.Box) and len(space.shape) <= 2):
        return int(torch.Size(space.shape).numel())
    if isinstance(space, spaces.Box):
        raise UsageError(
            f"the mlp network cannot take an observation of shape {space.shape}",
            hint='name = "cnn" or "impala" under [network] takes images, "multi" a Dict of images and vectors',
            place="network.name",
        )
    raise UsageError(
        f"the mlp network cannot take an observation of {space}",
        hint="it takes Box, Discrete, MultiDiscrete, MultiBinary, and Dict of these",
        place="network.name",
    )


def flatten(space: spaces.Space[Any], observation: Observation) -> torch.Tensor:
    """Return `observation` [B, *obs] as one float32 row per sample, [B, flat_width(space)]."""
    if isinstance(observation, dict):
        assert isinstance(space, spaces.Dict)
        return torch.cat([flatten(child, observation[key]) for key, child in space.spaces.items()], -1)
    if isinstance(space, spaces.Discrete):
        return F.one_hot(observation, int(space.n)).float()
    if isinstance(space, spaces.MultiDiscrete):
        parts = observation.flatten(1).unbind(-1)
        sizes = space.nvec.reshape(-1).tolist()
        return torch.cat([F.one_hot(part, size) for part, size in zip(parts, sizes, strict=True)], -1).float()
    return (
        observation
        if observation.ndim == 2 and observation.dtype == torch.float32
        else observation.unsqueeze(-1).flatten(1).float()
    )
