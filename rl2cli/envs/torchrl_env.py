"""Any rl2 adapter as a torchrl `EnvBase`, for torchrl's collectors, transforms and losses."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.torchrl_specs import action_spec_of, spec_of
from rl2cli.keys import Observation, map_observation
from rl2cli.spaces import observation_space


def as_torchrl_env(adapter: BaseEnvAdapter, seed: int = 0) -> Any:
    """Return a torchrl environment of batch size [N] that steps `adapter`, which is set up and vectorised.

    A plain observation has the key `observation`, a Dict its own keys. Closing it closes the adapter.

    Args:
        adapter: From `make_env_adapter`.
        seed: Of the first episodes; `set_seed` gives another.
    """
    return _env_class()(adapter, seed)


@functools.cache
def _env_class() -> Any:
    """Return the class; torchrl is imported for it, which takes seconds."""
    from tensordict import TensorDict, TensorDictBase
    from torchrl.data import Categorical, Composite, Unbounded
    from torchrl.envs import EnvBase

    class AdapterEnv(EnvBase):  # type: ignore[misc]  # torchrl's own base is untyped
        """Steps an rl2 adapter."""

        def __init__(self, adapter: BaseEnvAdapter, seed: int) -> None:
            count, device = adapter.num_envs, adapter.device
            super().__init__(device=device, batch_size=torch.Size([count]))
            self._adapter, self._seeds = adapter, np.random.default_rng(seed)
            space = spec_of(observation_space(adapter.observation_space), count, device=device)
            whole = space if isinstance(space, Composite) else Composite(observation=space, shape=(count,))
            self.observation_spec = whole.to(device)
            self.action_spec = action_spec_of(adapter.action_space, count, device=device)
            self.reward_spec = Unbounded(shape=(count, 1), device=device)
            flag = Categorical(2, shape=(count, 1), dtype=torch.bool, device=device)
            flags = {key: flag.clone() for key in ("done", "terminated", "truncated")}
            self.full_done_spec = Composite(flags, shape=(count,), device=device)

        def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
            mask = None if tensordict is None else tensordict.get("_reset", None)
            rows = None if mask is None else mask.reshape(-1).cpu().numpy()
            seeds = self._seeds.integers(2**31, size=self._adapter.num_envs)
            observation, _info = self._adapter.reset(seeds, rows)
            return self._data(observation)

        def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
            step = self._adapter.step(tensordict.get("action"))
            done = step.terminated | step.truncated
            observation = step.observation
            if step.final_observation is not None:
                observation = _where(done, step.final_observation, observation)
            flags = {"terminated": step.terminated, "truncated": step.truncated, "done": done}
            data = {key: value.clone().unsqueeze(-1) for key, value in flags.items()}
            return self._data(observation).update({**data, "reward": step.reward.clone().unsqueeze(-1)})

        def _set_seed(self, seed: int | None) -> None:
            self._seeds = np.random.default_rng(seed)

        def _data(self, observation: Observation) -> TensorDictBase:
            parts: Observation = observation if isinstance(observation, dict) else {"observation": observation}
            copied = map_observation(torch.clone, parts)
            return TensorDict(copied, batch_size=self.batch_size, device=self.device)

        def close(self, **named: Any) -> None:
            """Close the adapter."""
            super().close(**named)
            self._adapter.close()

    return AdapterEnv


def _where(rows: torch.Tensor, one: Observation, other: Observation) -> Observation:
    """Return `one` in the rows that are True, else `other`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _where(rows, one[key], other[key]) for key in one}
    assert isinstance(one, torch.Tensor)
    assert isinstance(other, torch.Tensor)
    return torch.where(rows.reshape(-1, *[1] * (one.dim() - 1)), one, other)
