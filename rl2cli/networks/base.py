"""What a network is to rl2: observation in, features out; the algorithm adds the heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from torch import nn

from rl2cli.keys import Observation
from rl2cli.options import Options as OptionsModel


class BaseNetwork(nn.Module, ABC):
    """Maps an observation [B, *obs] to features [B, out_features].

    Args:
        options: The network's own validated options.
        observation_space: Space of one environment's observation.
        extra_features: Width of `extra`, such as the action a Q-function also sees; 0 for none.

    Raises:
        UsageError: The network cannot take this observation; the message says which network can.
    """

    Options: ClassVar[type[OptionsModel]] = OptionsModel
    out_features: int
    """Width of the features."""
    compute_dtype: torch.dtype = torch.float32
    """What products of matrices and convolutions are computed in; parameters and features are float32 always."""

    def __init__(self, options: OptionsModel, observation_space: spaces.Space[Any], extra_features: int = 0) -> None:
        super().__init__()
        self.options = options
        self.observation_space = observation_space
        self.extra_features = extra_features

    def __call__(self, observation: Observation, extra: torch.Tensor | None = None) -> torch.Tensor:
        """Return `forward` in `compute_dtype`, as float32."""
        if self.compute_dtype is torch.float32:
            if self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks:
                features: torch.Tensor = super().__call__(observation, extra)
                return features
            return self.forward(observation, extra)  # which a small network notices: acting is an eighth faster
        leaf = observation
        while isinstance(leaf, dict):
            leaf = next(iter(leaf.values()))
        with torch.autocast(leaf.device.type, self.compute_dtype):
            features = super().__call__(observation, extra)
        return features.float()

    @abstractmethod
    def forward(self, observation: Observation, extra: torch.Tensor | None = None) -> torch.Tensor:
        """Return features [B, out_features] of `observation` [B, *obs] and `extra` [B, extra_features]."""
