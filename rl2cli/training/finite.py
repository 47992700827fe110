"""Looking for numbers that are NaN or infinite: in observations and rewards, and in what an algorithm has learned."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn

from rl2cli.algorithms.adam import FlatParameters
from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.algorithms.normalization import ObservationNormalizer, RewardNormalizer, RunningMoments
from rl2cli.errors import NonFiniteError
from rl2cli.keys import Observation

ENVIRONMENT_HINT = "check the environment's arithmetic; the last checkpoint is good"
_SHARE = 0.001
"""Share of the time that looking at the weights after updates may take."""
_KEPT_FINITE = (ObservationNormalizer, RewardNormalizer, RunningMoments)
"""Whose buffers are finite in every run; a plugin's own may be anything."""


def leaves(observation: Observation) -> list[torch.Tensor]:
    """Return the plain tensors of an observation."""
    if isinstance(observation, dict):
        return [leaf for part in observation.values() for leaf in leaves(part)]
    return [observation]


def is_finite(tensor: torch.Tensor) -> bool:
    """Return whether every number of a floating-point tensor is."""
    if not tensor.is_cpu:
        return bool(tensor.isfinite().all())
    array = tensor.numpy()  # whose reductions of a few numbers take a tenth of torch's
    return int(np.count_nonzero(np.isfinite(array))) == array.size


def first_not_finite(tensor: torch.Tensor) -> list[int]:
    """Return the index of the first number that is NaN or infinite."""
    index: list[int] = (~tensor.isfinite()).nonzero()[0].tolist()
    return index


def check_observation(observation: Observation, when: str) -> None:
    """Check an observation [N, *obs] of environments besides those of training.

    Raises:
        NonFiniteError: Names the environment.
    """
    for leaf in leaves(observation):
        if leaf.is_floating_point() and not is_finite(leaf):
            raise NonFiniteError(
                f"environment {first_not_finite(leaf)[0]} returned an observation that is not finite, {when}",
                hint=ENVIRONMENT_HINT,
            )


class WeightCheck:
    """Finds weights, moments and statistics of an algorithm that are not finite."""

    def __init__(self, algorithm: BaseAlgorithm) -> None:
        self._algorithm = algorithm
        self._wait = 0.0  # seconds of learning until the next look

    def after_update(self, seconds: float) -> None:
        """Look where so much was learned, `seconds` of it in the last update, that looking costs next to nothing.

        Raises:
            NonFiniteError: See `require_finite`.
        """
        self._wait -= seconds
        if self._wait <= 0.0:
            before = time.perf_counter()
            self.require_finite()
            self._wait = (time.perf_counter() - before) / _SHARE

    @torch.no_grad()
    def require_finite(self) -> None:
        """Look at everything.

        Raises:
            NonFiniteError: Names every tensor that is not finite.
        """
        found = self._tensors()
        total = torch.stack([tensor.sum().float() for tensor in found.values()]).sum() if found else torch.zeros(())
        if bool(total.isfinite()):  # a NaN or infinity anywhere is one in the sum
            return
        named = {name: tensor for name, tensor in found.items() if not name.endswith(".flat")}
        named |= dict(self._algorithm.named_parameters())
        bad = [name for name, tensor in named.items() if not bool(tensor.isfinite().all())]
        if bad:
            more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            raise NonFiniteError(
                f"{', '.join(bad[:3])}{more} not finite in the algorithm's weights or statistics",
                hint="a lower learning_rate often helps; the last checkpoint is good",
            )

    def _tensors(self) -> dict[str, torch.Tensor]:
        flats = dict(_named(self._algorithm))
        inside = {id(p) for part in _flat(self._algorithm) for p in part.parameters_in_order}
        own = {name: each for name, each in self._algorithm.named_parameters() if id(each) not in inside}
        return {name: each for name, each in {**flats, **own}.items() if each.is_floating_point() and each.numel()}


def _flat(algorithm: nn.Module) -> list[FlatParameters]:
    return [module for module in algorithm.modules() if isinstance(module, FlatParameters)]


def _named(algorithm: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Return what must be finite besides parameters that lie in no vector, by name."""
    found: list[tuple[str, torch.Tensor]] = []
    for name, module in algorithm.named_modules():
        if isinstance(module, FlatParameters):
            found += [(f"{name}.{part}", tensor) for part, tensor in zip(module.STATE, module.state(), strict=True)]
        elif isinstance(module, _KEPT_FINITE):
            found += [(f"{name}.{part}", tensor) for part, tensor in module.named_buffers(recurse=False)]
    return found
