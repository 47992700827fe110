"""Ensembles of action values: several critics of one kind, each with a network of its own."""

from __future__ import annotations

import torch
from torch import nn

from rl2cli.algorithms.base import Task
from rl2cli.keys import Observation


class Critics(nn.Module):
    """`count` independent action-value functions.

    Args:
        task: Makes their networks.
        count: How many.
        extra_features: Width of the action that they see; 0 where they give a value to every action instead.
        outputs: Numbers that each gives.
    """

    def __init__(self, task: Task, count: int, extra_features: int, outputs: int = 1) -> None:
        super().__init__()
        self.networks = nn.ModuleList(task.make_critic_network(extra_features) for _ in range(count))
        self.heads = nn.ModuleList(nn.Linear(network.out_features, outputs) for network in self.networks)  # type: ignore[arg-type]  # a module's attribute

    def forward(self, observation: Observation, action: torch.Tensor | None = None) -> torch.Tensor:
        """Return [count, B, outputs] for `observation` [B, *obs] and `action` [B, extra_features]."""
        pairs = zip(self.networks, self.heads, strict=True)
        return torch.stack([head(network(observation, action)) for network, head in pairs])

    def first(self, observation: Observation, action: torch.Tensor | None = None) -> torch.Tensor:
        """Return [B, outputs] of the first one alone."""
        value: torch.Tensor = self.heads[0](self.networks[0](observation, action))
        return value


def frozen_copy(source: nn.Module, copy: nn.Module) -> nn.Module:
    """Give `copy` the parameters of `source`, never to be differentiated, and return it: a target network."""
    copy.load_state_dict(source.state_dict())
    return copy.requires_grad_(False)
