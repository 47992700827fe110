"""How an algorithm's gradients are made, and of which learners' parts."""

from __future__ import annotations

import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.algorithms.gradient_shards import GradientShards, pairwise_sum
from rl2cli.errors import UsageError
from rl2cli.spec.model import ScaleSpec
from rl2cli.training.learners.group import Learners
from rl2cli.training.learners.place import Place


def share(
    scale: ScaleSpec | None, algorithm: BaseAlgorithm, learners: Learners | None
) -> tuple[GradientShards | None, str | None]:
    """Return how an algorithm's gradients are made, None for each as a whole, and a sentence about it.

    Raises:
        UsageError: There are several learners, and the algorithm learns in one.
    """
    if scale is None or not algorithm.shares_gradients:
        if learners is not None:
            raise UsageError("this algorithm learns in one process only", hint="start it without torchrun")
        return None, None
    count, shards = 1 if learners is None else learners.place.learners, scale.gradient_shards
    if not scale.deterministic:
        if learners is None:
            return None, None
        return learners.shards(scale), f"{count} learners average their gradients: the bits depend on their number"
    who = f"{count} learners share every gradient," if count > 1 else "every gradient is"
    sentence = f"{who} made of {shards} shards: the same bits for any number of learners"
    if learners is not None:
        return learners.shards(scale), sentence
    return GradientShards(shards, range(shards), pairwise_sum), sentence


def require_gpus(place: Place, device: torch.device) -> None:
    """Check that every learner of this machine has a GPU of its own, where they learn on GPUs.

    Raises:
        UsageError: There are too few, or all were given the same one.
    """
    if device.type != "cuda":
        return
    there = torch.cuda.device_count()
    if place.local_learners > there:
        raise UsageError(
            f"{place.local_learners} learners are on this machine, which has {there} GPUs",
            hint=f"start at most {there} here, or learn on the CPU: --device cpu",
        )
    if device.index is not None and place.local_learners > 1:
        raise UsageError(
            f"{place.local_learners} learners cannot all be on {device}",
            hint='device = "cuda" gives each one its own',
            place="device",
        )
