"""An off-policy algorithm of the least size: it keeps frames, learns from some of them, and explores in its own way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

import rl2cli
from rl2cli.algorithms.base import BaseAlgorithm, Task
from rl2cli.options import Options
from rl2cli.registry import algorithms
from rl2cli.segment import Segment

PIECE = 16
"""Rewards of a segment."""


class Remembering(BaseAlgorithm):
    """Follows the mean of the rewards that it draws from its memory; in training it only ever takes action 1."""

    class Options(Options):
        buffer_size: int = 100_000
        bytes_per_frame: int = 4
        every: int = 8

    def __init__(self, options: Any, task: Task) -> None:
        super().__init__(options, task)
        self.rollout_length = 1
        self.memory_bytes = options.buffer_size * options.bytes_per_frame
        self.mean = nn.Parameter(torch.zeros(()))
        self.generators = {"replay": task.make_generator("replay")}
        self.rewards: list[float] = []
        self.pieces: list[Segment] = []
        self.loaded: list[Segment] = []

    def act(self, observation: Any, explore: Any = None, action_mask: Any = None) -> dict[str, torch.Tensor]:
        return {"action": torch.zeros(len(observation), dtype=torch.int64)}

    def behave(self, observation: Any, explore: Any, action_mask: Any = None) -> dict[str, torch.Tensor]:
        return {"action": torch.ones(len(observation), dtype=torch.int64)}

    @torch.no_grad()
    def update(self, trajectories: Any, frames: int) -> dict[str, float]:
        assert (trajectories["action"] == 1).all()
        self.rewards += trajectories["reward"].flatten().tolist()
        if frames % self.options.every:
            return {}
        index = torch.randint(len(self.rewards), (4,), generator=self.generators["replay"])
        drawn = torch.tensor([self.rewards[i] for i in index.tolist()])
        self.mean += 0.1 * (drawn.mean() - self.mean)
        return {
            "loss/mean": self.mean.item(),
            "replay/size": float(len(self.rewards)),
            "replay/capacity": float(self.options.buffer_size),
            "replay/updates_per_frame": 1.0 / self.options.every,
        }

    def segments(self) -> list[Segment]:
        whole = len(self.rewards) // PIECE
        for start in range(len(self.pieces) * PIECE, whole * PIECE, PIECE):
            rewards = torch.tensor(self.rewards[start : start + PIECE])
            self.pieces.append(Segment({"reward": rewards, "start": torch.tensor(start)}))
        rest = Segment({"reward": torch.tensor(self.rewards[whole * PIECE :])})
        return [*self.pieces, rest]

    def load_segments(self, segments: list[Segment]) -> None:
        for segment in segments:
            assert segment.tensors is not None
            self.rewards += segment.tensors["reward"].tolist()
            segment.tensors = None
        self.pieces = segments[:-1]


@contextmanager
def registered() -> Iterator[None]:
    """Give the algorithm a name for a while."""
    rl2cli.register_algorithm("remembering", "remembering:Remembering")
    try:
        yield
    finally:
        algorithms.unregister("remembering")
