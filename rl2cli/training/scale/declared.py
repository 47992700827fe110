"""What the environments of a sharded run are like, for whoever only asks that."""

from __future__ import annotations

from typing import Any

import numpy as np

from rl2cli.envs.base import BaseEnvAdapter

_DECLARED = (
    "observation_space",
    "action_space",
    "device",
    "resume",
    "has_action_mask",
    "frame_skip",
    "frame_stack",
    "critic_only",
    "render_fps",
)


class DeclaredEnvironments(BaseEnvAdapter):
    """Declares what one shard's environments do, for all of them; workers step them.

    Args:
        shard: The environments of a shard, set up.
        num_envs: Environments of all shards.
    """

    vectorised = True

    def __init__(self, shard: BaseEnvAdapter, num_envs: int) -> None:
        super().__init__(shard.options, num_envs=num_envs)
        self.shard = shard
        for name in _DECLARED:
            setattr(self, name, getattr(shard, name))
        self.reported: list[dict[str, float]] = []
        """What the backends of shards reported themselves, since that was asked for last."""

    def setup(self) -> None:
        """Do nothing: the shard is set up."""

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> Any:
        """Refuse: see the class."""
        raise NotImplementedError("the environments of a sharded run are stepped by its workers")

    def step(self, action: Any) -> Any:
        """Refuse: see the class."""
        raise NotImplementedError("the environments of a sharded run are stepped by its workers")

    def take_metrics(self) -> dict[str, float]:
        """Return the mean of what the shards reported."""
        names = sorted({name for each in self.reported for name in each})
        found = {name: [each[name] for each in self.reported if name in each] for name in names}
        self.reported.clear()
        return {name: sum(values) / len(values) for name, values in found.items()}

    def close(self) -> None:
        """Close the shard."""
        self.shard.close()
