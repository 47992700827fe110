"""EnvPool (`pip install envpool`): Atari, MuJoCo, Box2D, classic control and more, stepped by C++ threads."""

import numpy as np
import torch
from pydantic import Field

from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.seeding import joint_seed
from rl2cli.errors import UsageError, suggestion
from rl2cli.options import Options


class EnvPoolAdapter(BaseEnvAdapter):
    """One of EnvPool's tasks; an environment begins its next episode in the step after an end."""

    class Options(Options):
        task: str = Field("CartPole-v1", description="A name from envpool.list_all_envs().")
        threads: int = Field(0, ge=0, description="Threads that step; 0 leaves it to EnvPool.")

    vectorised = True
    steps_elsewhere = True  # while its threads step, Python is free

    def setup(self):
        self.device = torch.device("cpu")
        self.env = self._make(0)
        self.observation_space, self.action_space = self.env.observation_space, self.env.action_space

    def _make(self, seed):
        import envpool

        names = envpool.list_all_envs()
        if self.options.task not in names:
            raise UsageError(f"EnvPool has no {self.options.task!r}", hint=suggestion(self.options.task, names))
        settings = {"num_envs": self.num_envs, "num_threads": self.options.threads, "seed": seed}
        return envpool.make(self.options.task, env_type="gymnasium", **settings)

    def reset(self, seed=None, mask=None):
        if mask is not None and not mask.all():
            raise UsageError("EnvPool seeds environments when it makes them, so they are reset all together")
        self.env.close()
        self.env = self._make(joint_seed(seed) % 2**31)
        self.ended = np.zeros(self.num_envs, np.bool_)
        return self.get_observation(self.env.reset()[0]), {}

    def step(self, action):
        raw, *rest, _info = self.env.step(self.get_action(action))
        reward, terminated, truncated = (torch.from_numpy(np.array(each)) for each in rest)
        valid, self.ended = torch.from_numpy(~self.ended), np.logical_or(rest[1], rest[2])
        observation = self.get_observation(raw)
        final = observation if self.ended.any() else None
        return Step(observation, reward.float(), terminated, truncated & ~terminated, final, valid)

    def get_observation(self, raw):
        observation = torch.from_numpy(np.array(raw))
        return observation.float() if observation.is_floating_point() else observation

    def get_action(self, action):
        return np.asarray(action.cpu(), self.action_space.dtype)

    def close(self):
        self.env.close()
