"""Learned Fourier features (Li & Pathak 2021, arXiv 2112.03257): a first layer of sines and cosines, then one more."""

import math

import torch
from pydantic import Field
from torch import nn

from rl2cli.networks.base import BaseNetwork
from rl2cli.networks.mlp import flat_width, flatten
from rl2cli.options import Options


class Fourier(BaseNetwork):
    """Sines and cosines of learned directions of the observation, and a layer over them."""

    class Options(Options):
        features: int = Field(64, ge=1, description="Directions, each of which gives a sine and a cosine.")
        scale: float = Field(0.5, gt=0.0, description="Deviation of the first directions: how fast features change.")
        width: int = Field(64, ge=1, description="Width of the layer over them.")

    def __init__(self, options, observation_space, extra_features=0):
        super().__init__(options, observation_space, extra_features)
        self.directions = nn.Linear(flat_width(observation_space) + extra_features, options.features)
        nn.init.normal_(self.directions.weight, std=options.scale)
        nn.init.uniform_(self.directions.bias, -math.pi, math.pi)
        self.layer = nn.Linear(2 * options.features, options.width)
        self.out_features = options.width  # `forward` returns [B, out_features]

    def forward(self, observation, extra=None):
        flat = flatten(self.observation_space, observation)  # [B, flat_width], a Dict too
        angles = self.directions(flat if extra is None else torch.cat([flat, extra], -1))
        return torch.tanh(self.layer(torch.cat([angles.sin(), angles.cos()], -1)))
