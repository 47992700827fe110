"""The `torchrl` backend: any torchrl `EnvBase`, and with it dm_control, Jumanji, Brax and what else it wraps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.torchrl_make import END_KEYS, build_torchrl, dotted
from rl2cli.envs.torchrl_options import TorchRLOptions
from rl2cli.envs.torchrl_specs import space_of
from rl2cli.errors import UsageError
from rl2cli.options import Options as BaseOptions


class TorchRLAdapter(BaseEnvAdapter):
    """One torchrl environment without a batch; rl2 makes it a batch, in this process or in workers."""

    Options = TorchRLOptions
    options: TorchRLOptions

    @classmethod
    def select(cls, options: BaseOptions, num_envs: int) -> type[BaseEnvAdapter]:
        """Return the class for an environment that is a batch by itself where the options say so."""
        del num_envs
        assert isinstance(options, TorchRLOptions)
        if options.batch_argument is None:
            return cls
        from rl2cli.envs.torchrl_batch import TorchRLBatchAdapter

        return TorchRLBatchAdapter

    def setup(self) -> None:
        """Build the environment and translate its specs."""
        from tensordict import TensorDict

        self._env = build_torchrl(self.options, {})
        if self._env.batch_size:
            raise UsageError(
                f"{self.options.factory} is a batch {list(self._env.batch_size)}: rl2 makes batches itself",
                hint='build it with an empty batch_size, or write batch_argument = "batch_size" or "num_envs" under '
                "[env] and leave that out of kwargs",
                place="env.kwargs",
            )
        self._observed = sorted(self._env.observation_spec.keys(True, True), key=str)
        parts = {dotted(key): space_of(self._env.observation_spec[key]) for key in self._observed}
        self.observation_space = next(iter(parts.values())) if len(parts) == 1 else spaces.Dict(parts)
        self._action_spec = self._env.action_spec
        self.action_space = space_of(self._action_spec, one_hot=True)
        if self.options.repeatable:
            self.resume = "episode_seed"
        self._data: Any = TensorDict()
        self._steps = 0

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode with its own seed."""
        if seed is not None:
            seed = int(seed) % 2**31
            torch.manual_seed(seed)  # some environments of torchrl draw from the global generator alone
            self._env.set_seed(seed, static_seed=True)
        self._data, self._steps = self._env.reset(), 0
        return self._observation(self._data), {}

    def step(self, action: Any) -> Any:
        """Take one step."""
        from torchrl.envs.utils import step_mdp

        self._data.set(self._env.action_key, action)
        with torch.no_grad():
            result = self._env.step(self._data)
        after = result["next"]
        self._steps += 1
        ends = {key: bool(after[key].any()) for key in END_KEYS if key in after.keys()}  # noqa: SIM118
        terminated = ends.get("terminated", ends.get("done", False) and not ends.get("truncated", False))
        truncated = ends.get("truncated", False) or self._steps == self.options.max_episode_steps
        reward = float(after[self._env.reward_key].sum())
        self._data = step_mdp(result)
        return self._observation(after), reward, terminated, truncated and not terminated, {}

    def get_action(self, action: Any) -> Any:
        """Turn the policy's numbers into the tensor that the spec asks for."""
        from torchrl.data import OneHot

        spec = self._action_spec
        if isinstance(spec, OneHot):
            return torch.nn.functional.one_hot(torch.as_tensor(int(action)), spec.space.n).to(spec.dtype)
        return torch.as_tensor(np.asarray(action)).to(spec.dtype).to(spec.device or "cpu").reshape(spec.shape)

    def close(self) -> None:
        """End the environment."""
        env = getattr(self, "_env", None)
        if env is not None and not env.is_closed:
            env.close()

    def _observation(self, data: Any) -> Any:
        parts = {dotted(key): data[key].detach().cpu().numpy() for key in self._observed}
        return next(iter(parts.values())) if len(parts) == 1 else parts
