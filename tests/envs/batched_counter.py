"""A torchrl environment that is a batch of any size by itself."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torchrl.data import Bounded, Composite, OneHot, Unbounded
from torchrl.envs import EnvBase

LAST = 5


class Counter(EnvBase):  # type: ignore[misc]
    """Row n counts from n mod 3 to 5, with choices 1 and 2; what it also shows is drawn from the global generator."""

    def __init__(self, batch_size: tuple[int, ...] = (), device: str = "cpu") -> None:
        super().__init__(batch_size=torch.Size(batch_size), device=device)
        batch = self.batch_size
        count = Bounded(0, LAST, shape=(*batch, 1), dtype=torch.int64)
        inner = Composite(noise=Unbounded(shape=(*batch, 2), dtype=torch.float64), shape=batch)
        self.observation_spec = Composite(count=count, inner=inner, shape=batch)
        self.action_spec = OneHot(3, shape=(*batch, 3))
        self.reward_spec = Unbounded(shape=(*batch, 1))

    def _observed(self) -> TensorDict:
        noise = torch.rand(*self.batch_size, 2, dtype=torch.float64)
        return TensorDict({"count": self.count.clone(), "inner": {"noise": noise}}, self.batch_size)

    def _reset(self, tensordict: Any = None, **_: Any) -> TensorDict:
        first = (torch.arange(self.batch_size.numel()) % 3).reshape(*self.batch_size, 1)
        rows = None if tensordict is None else tensordict.get("_reset", None)
        self.count = first if rows is None else torch.where(rows, first, self.count)
        return self._observed()

    def _step(self, tensordict: Any) -> TensorDict:
        self.count = self.count + (tensordict["action"].long().argmax(-1, keepdim=True) > 0)
        done = self.count >= LAST
        return self._observed().update({"reward": self.count.float(), "terminated": done, "done": done.clone()})

    def _set_seed(self, seed: int | None) -> None:
        pass
