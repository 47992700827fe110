"""The `torchrl` backend: any single torchrl `EnvBase`, and with it dm_control, Jumanji, Brax and what else it wraps."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.torchrl_options import TorchRLOptions
from rl2cli.envs.torchrl_specs import space_of
from rl2cli.errors import EnvironmentFault, MissingDependencyError, UsageError, suggestion
from rl2cli.registry import import_target
from rl2cli.trust import require_allowed

_END_KEYS = ("terminated", "truncated", "done")


class TorchRLAdapter(BaseEnvAdapter):
    """One torchrl environment without a batch; rl2 makes it a batch, in this process or in workers."""

    Options = TorchRLOptions
    options: TorchRLOptions

    def setup(self) -> None:
        """Build the environment and translate its specs."""
        from tensordict import TensorDict

        self._env = self._build()
        if self._env.batch_size:
            raise UsageError(
                f"{self.options.factory} is a batch {list(self._env.batch_size)}: rl2 makes batches itself",
                hint="build it with an empty batch_size",
                place="env.kwargs",
            )
        self._require_flat_keys()
        self._observed = sorted(self._env.observation_spec.keys(True, True), key=str)
        parts = {".".join(_path(key)): space_of(self._env.observation_spec[key]) for key in self._observed}
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
        ends = {key: bool(after[key].any()) for key in _END_KEYS if key in after.keys()}  # noqa: SIM118
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
        parts = {".".join(_path(key)): data[key].detach().cpu().numpy() for key in self._observed}
        return next(iter(parts.values())) if len(parts) == 1 else parts

    def _build(self) -> Any:
        from torchrl.envs import EnvBase

        factory = self._factory()
        if not (isinstance(factory, type) and issubclass(factory, EnvBase)):
            raise UsageError(f"{self.options.factory} is no torchrl EnvBase", place="env.factory")
        try:
            return factory(*self.options.args, **self.options.kwargs)
        except ImportError as error:
            needed = f"needs {error.name}" if error.name else str(error)
            hint = f"pip install {error.name}" if error.name else None
            raise MissingDependencyError(f"{self.options.factory} {needed}", hint=hint) from error
        except (TypeError, ValueError) as error:
            raise UsageError(f"{self.options.factory} refused its arguments: {error}", place="env.args") from error

    def _factory(self) -> Any:
        name = self.options.factory
        if ":" in name:
            require_allowed(name.partition(":")[0], f"the torchrl factory {name!r}")
            return import_target(name, what="torchrl factory")
        module = importlib.import_module("torchrl.envs")
        if not hasattr(module, name):
            near = suggestion(name, [each for each in dir(module) if each.endswith("Env")])
            raise UsageError(f"torchrl.envs has no {name!r}", hint=near, place="env.factory")
        return getattr(module, name)

    def _require_flat_keys(self) -> None:
        if len(self._env.action_keys) != 1 or len(self._env.reward_keys) != 1:
            raise EnvironmentFault(f"{self.options.factory} has several agents: rl2 trains one")


def _path(key: Any) -> tuple[str, ...]:
    return key if isinstance(key, tuple) else (key,)
