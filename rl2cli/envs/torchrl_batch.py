"""A torchrl `EnvBase` that is a batch by itself, such as of a simulator on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.seeding import joint_seed
from rl2cli.envs.torchrl_make import END_KEYS, build_torchrl, dotted
from rl2cli.envs.torchrl_options import TorchRLOptions
from rl2cli.envs.torchrl_specs import space_of
from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.keys import Observation
from rl2cli.spaces import allocate, observation_space


class TorchRLBatchAdapter(BaseEnvAdapter):
    """N environments of one torchrl environment with a batch size [N]; tensors stay on its device."""

    Options = TorchRLOptions
    options: TorchRLOptions
    vectorised = True

    def setup(self) -> None:
        """Build the environment and translate its specs."""
        env = self._build()
        self._keys = {dotted(key): key for key in sorted(env.observation_spec.keys(True, True), key=str)}
        unbatched = env.observation_spec_unbatched
        parts = {name: space_of(unbatched[key]) for name, key in self._keys.items()}
        self.observation_space = next(iter(parts.values())) if len(parts) == 1 else spaces.Dict(parts)
        self.action_space = space_of(env.action_spec_unbatched, one_hot=True)
        self.device = env.device or torch.device("cpu")
        self._dtypes = {name: allocate(observation_space(part), ()).dtype for name, part in parts.items()}  # type: ignore[union-attr]  # plain parts
        self._seed = 0
        self._env = self._with_time_limit(env)

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes, with one seed made of all seeds."""
        if seed is not None:
            self._seed = joint_seed(np.asarray(seed)) % 2**31
            self._env.set_seed(self._seed)
        with self._seeded():
            if mask is None:
                self._data = self._env.reset()
            else:
                rows = torch.from_numpy(np.asarray(mask)).to(self.device)
                self._data = self._env.reset(self._data.set("_reset", rows.unsqueeze(-1)))
        return self._observation(self._data), {}

    def step(self, action: torch.Tensor) -> Step:
        """Take one step in every environment."""
        self._data.set(self._env.action_key, self.get_action(action))
        with self._seeded(), torch.no_grad():
            result, self._data = self._env.step_and_maybe_reset(self._data)
        after = result["next"]
        ends = {key: self._column(after[key]).bool() for key in END_KEYS if key in after.keys()}  # noqa: SIM118
        none = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        truncated = ends.get("truncated", none)
        terminated = ends.get("terminated", ends.get("done", none) & ~truncated)
        reward = self._column(after[self._env.reward_key]).float()
        final = self._observation(after) if bool((terminated | truncated).any()) else None
        return Step(self._observation(self._data), reward, terminated, truncated & ~terminated, final)

    def get_action(self, action: torch.Tensor) -> torch.Tensor:
        """Turn the policy's numbers [N, *act] into the tensor that the spec asks for."""
        from torchrl.data import OneHot

        spec = self._env.action_spec
        if isinstance(spec, OneHot):
            return torch.nn.functional.one_hot(action.to(self.device), spec.space.n).to(spec.dtype)
        action = action.to(self.device, spec.dtype).reshape(spec.shape)
        return action if not isinstance(self.action_space, spaces.Box) else spec.project(action)

    def close(self) -> None:
        """End the environment."""
        env = getattr(self, "_env", None)
        if env is not None and not env.is_closed:
            env.close()

    def _build(self) -> Any:
        argument = str(self.options.batch_argument)
        env = build_torchrl(self.options, {argument: [self.num_envs] if argument == "batch_size" else self.num_envs})
        if tuple(env.batch_size) != (self.num_envs,):
            raise UsageError(
                f"{self.options.factory} with {argument} = {self.num_envs} is a batch {list(env.batch_size)}",
                hint="batch_argument is what its constructor calls the number of environments",
                place="env.batch_argument",
            )
        return env

    def _with_time_limit(self, env: Any) -> Any:
        if self.options.max_episode_steps is None:
            return env
        from torchrl.envs import StepCounter, TransformedEnv

        return TransformedEnv(env, StepCounter(max_steps=self.options.max_episode_steps))

    def _observation(self, data: Any) -> Observation:
        parts: dict[str, Observation] = {}
        for name, key in self._keys.items():
            parts[name] = data[key].detach().to(self._dtypes[name], copy=True)
        return next(iter(parts.values())) if len(parts) == 1 else parts

    def _column(self, values: torch.Tensor) -> torch.Tensor:
        """Return [N] of [N, 1].

        Raises:
            EnvironmentFault: There are several per environment.
        """
        if values.shape.numel() != self.num_envs:
            raise EnvironmentFault(
                f"{self.options.factory} gives {list(values.shape)} rewards or ends, not one each",
                hint="rl2 learns from one reward and one end of each environment: add them up in a class of your own",
                place="env.factory",
            )
        return values.reshape(self.num_envs).clone()

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Let what it draws from torch's global generator follow from the seed, and nothing else notice."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self._seed)
            self._seed += 1
            yield
