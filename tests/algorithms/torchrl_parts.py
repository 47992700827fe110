"""An off-policy algorithm's networks and batches in the form that torchrl's losses take."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rl2cli.algorithms.critics import Critics
from rl2cli.algorithms.replay import ReplayBatch


class Critic(nn.Module):
    """One critic."""

    def __init__(self, critics: Critics) -> None:
        super().__init__()
        self.network, self.head = critics.networks[0], critics.heads[0]

    def forward(self, observation: torch.Tensor, action: torch.Tensor | None = None) -> torch.Tensor:
        value: torch.Tensor = self.head(self.network(observation, action))
        return value


def stacked(critics: Critics, tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors of every parameter of `critics` by their names in a `Critic`, [critics, ...]."""
    found: dict[str, list[torch.Tensor]] = {}
    for (name, _), tensor in zip(critics.named_parameters(), tensors, strict=True):
        part, _, rest = name.split(".", 2)
        found.setdefault(f"{part.removesuffix('s')}.{rest}", []).append(tensor)
    return {name: torch.stack(parts) for name, parts in found.items()}


def by_name(parameters: Any) -> dict[str, torch.Tensor]:
    """Return torchrl's stacked parameters of a `Critic` by name."""
    return {".".join(key).removeprefix("module."): value for key, value in parameters.items(True, True)}


def copy_critics(loss: Any, critics: Critics, targets: Critics) -> None:
    """Give a torchrl loss our critics and their targets."""
    for theirs, ours in ((loss.qvalue_network_params, critics), (loss.target_qvalue_network_params, targets)):
        values = stacked(ours, list(ours.parameters()))
        for name, parameter in by_name(theirs).items():
            parameter.data.copy_(values[name])


def as_tensordict(batch: ReplayBatch, unit_action: torch.Tensor, **also: dict[str, torch.Tensor]) -> Any:
    """Return `batch` for torchrl; `also` holds the step's own and, under `next`, the next one's further tensors."""
    from tensordict import TensorDict

    terminated = (batch.discount == 0.0).unsqueeze(-1)
    following = {
        "observation": batch.next_observation,
        "reward": batch.reward.unsqueeze(-1),
        "done": terminated,
        "terminated": terminated,
        **also.get("next", {}),
    }
    own = {"observation": batch.observation, "action": unit_action, **also.get("own", {})}
    return TensorDict({**own, "next": following}, batch_size=[len(batch.reward)])


def assert_gradients(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], factor: float = 1.0) -> None:
    """Check that `factor` times our gradients are theirs, and that they are not nothing."""
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert gradient.abs().max() > 1e-4, name
        torch.testing.assert_close(factor * ours[name], gradient, atol=1e-5, rtol=1e-4)
