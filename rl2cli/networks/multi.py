"""A network for a Dict of images and vectors: an encoder for each image, one for the vectors, joined."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar, TypeAlias

import torch
from gymnasium import spaces
from torch import nn

from rl2cli.errors import UsageError, suggestion
from rl2cli.keys import Observation
from rl2cli.networks.base import BaseNetwork
from rl2cli.networks.cnn import CNN
from rl2cli.networks.images import is_image
from rl2cli.networks.impala import IMPALA
from rl2cli.networks.mlp import flat_width, flatten
from rl2cli.networks.multi_options import MultiOptions

Path: TypeAlias = "tuple[str, ...]"


class Multi(BaseNetwork):
    """Images through convolutions, all else flattened through layers, and layers over both; `extra` joins there."""

    Options: ClassVar[type[MultiOptions]] = MultiOptions
    options: MultiOptions

    def __init__(self, options: MultiOptions, observation_space: spaces.Space[Any], extra_features: int = 0) -> None:
        super().__init__(options, observation_space, extra_features)
        if not isinstance(observation_space, spaces.Dict):
            fits = "cnn" if is_image(observation_space) else "mlp"
            raise UsageError(
                f"the multi network takes a Dict of observations, not a {type(observation_space).__name__}",
                hint=f'name = "{fits}" under [network] fits this one',
                place="network.name",
            )
        parts = _chosen(dict(_leaves(observation_space)), options.observations)
        self._images = {path: space for path, space in parts.items() if is_image(space)}
        self._vectors = {path: space for path, space in parts.items() if not is_image(space)}
        self.encoders = nn.ModuleList(self._encoder(space) for space in self._images.values())
        vectors = sum(flat_width(space) for space in self._vectors.values())
        widths = [vectors, *(options.vector_sizes if vectors else [])]
        self.vector_layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        features = sum(encoder.out_features for encoder in self.encoders) + widths[-1] + extra_features  # type: ignore[misc]  # a module's attribute
        joint = [int(features), *options.hidden_sizes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(joint))
        self.out_features = joint[-1]

    def forward(self, observation: Observation, extra: torch.Tensor | None = None) -> torch.Tensor:
        """Return features [B, out_features]."""
        encoded = [encoder(_at(observation, path)) for path, encoder in zip(self._images, self.encoders, strict=True)]
        if self._vectors:
            vectors = torch.cat([flatten(space, _at(observation, path)) for path, space in self._vectors.items()], -1)
            for layer in self.vector_layers:
                vectors = layer(vectors).relu()
            encoded.append(vectors)
        features = torch.cat(encoded if extra is None else [*encoded, extra], -1)
        for layer in self.layers:
            features = layer(features).relu()
        return features

    def _encoder(self, space: spaces.Space[Any]) -> BaseNetwork:
        if self.options.impala is not None:
            return IMPALA(self.options.impala, space)
        return CNN(self.options.cnn, space)


def _leaves(space: spaces.Space[Any], path: Path = ()) -> Iterator[tuple[Path, spaces.Space[Any]]]:
    """Yield the plain parts of `space`, each with the keys that lead to it."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from _leaves(part, (*path, key))
    else:
        yield path, space


def _chosen(parts: dict[Path, spaces.Space[Any]], wanted: list[str] | None) -> dict[Path, spaces.Space[Any]]:
    """Return the parts whose keys, joined by dots, are `wanted` or begin so, in the order of the observation."""
    if wanted is None:
        return parts
    known = [".".join(path[:depth]) for path in parts for depth in range(1, len(path) + 1)]
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"observations names {name!r}, which is not in the observation",
                hint=suggestion(name, known) or f"there are: {', '.join(dict.fromkeys(known))}",
                place="network.observations",
            )
    chosen = set(wanted)
    return {
        path: space
        for path, space in parts.items()
        if any(".".join(path[:depth]) in chosen for depth in range(1, len(path) + 1))
    }


def _at(observation: Observation, path: Path) -> torch.Tensor:
    for key in path:
        assert isinstance(observation, dict)
        observation = observation[key]
    assert isinstance(observation, torch.Tensor)
    return observation
