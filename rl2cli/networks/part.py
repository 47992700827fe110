"""A network that sees only a part of a Dict observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces

from rl2cli.errors import UsageError
from rl2cli.keys import Observation
from rl2cli.networks.base import BaseNetwork
from rl2cli.options import Options


class PartOf(BaseNetwork):
    """Any network, over a Dict observation without the keys `hidden`; over the one that is left alone where one is.

    Args:
        build: The network's class.
        options: Its options.
        observation_space: The whole Dict.
        hidden: Keys that it does not see.
        extra_features: Width of `extra`.
    """

    def __init__(
        self,
        build: type[BaseNetwork],
        options: Options,
        observation_space: spaces.Space[Any],
        hidden: Sequence[str],
        extra_features: int = 0,
    ) -> None:
        super().__init__(options, observation_space, extra_features)
        assert isinstance(observation_space, spaces.Dict)
        self._keys = [key for key in observation_space.spaces if key not in hidden]
        if not self._keys:
            raise UsageError(
                "the policy would see nothing: every part of the observation is for the critic alone",
                hint="leave one of them out of `critic_only` of the environment's adapter",
            )
        seen = {key: observation_space.spaces[key] for key in self._keys}
        part = spaces.Dict(seen) if len(seen) > 1 else next(iter(seen.values()))
        self.inner = build(options, part, extra_features)
        self.out_features = self.inner.out_features

    def forward(self, observation: Observation, extra: torch.Tensor | None = None) -> torch.Tensor:
        """Return the network's features of the part that it sees."""
        assert isinstance(observation, dict)
        part = {key: observation[key] for key in self._keys}
        return self.inner(part if len(part) > 1 else part[self._keys[0]], extra)
