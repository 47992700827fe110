"""mjlab (Isaac Lab's API on MuJoCo Warp, `pip install mjlab`): its tasks on the CPU or an NVIDIA GPU."""

import sys
from contextlib import contextmanager, redirect_stdout

import torch
from gymnasium import spaces
from pydantic import Field

from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.seeding import joint_seed
from rl2cli.errors import UsageError, suggestion
from rl2cli.options import Options


class MjlabAdapter(BaseEnvAdapter):
    """One mjlab task, many environments at once; tensors stay on the simulation's device."""

    class Options(Options):
        task: str = Field("Mjlab-Cartpole-Balance", description="A name from mjlab's registry of tasks.")
        group: str = Field("actor", description="The group of observations that the policy sees.")

    vectorised = True

    def setup(self):
        from mjlab.envs import ManagerBasedRlEnv
        from mjlab.tasks.registry import list_tasks, load_env_cfg

        if self.options.task not in list_tasks():
            raise UsageError(f"mjlab has no {self.options.task!r}", hint=suggestion(self.options.task, list_tasks()))
        config = load_env_cfg(self.options.task)
        config.scene.num_envs, config.auto_reset = self.num_envs, False  # we reset, and see the last one
        with redirect_stdout(sys.stderr):  # stdout is rl2's data
            self.env = ManagerBasedRlEnv(config, str(self.device))
        shape = self.env.observation_manager.group_obs_dim[self.options.group]
        self.observation_space = spaces.Box(-float("inf"), float("inf"), shape)
        self.action_space = spaces.Box(-float("inf"), float("inf"), (self.env.action_manager.total_action_dim,))

    def reset(self, seed=None, mask=None):
        self.seed = joint_seed(seed)
        with self._seeded():
            rows = None if mask is None else torch.from_numpy(mask.nonzero()[0]).to(self.device)
            return self.get_observation(self.env.reset(env_ids=rows)[0]), {}

    def step(self, action):
        with self._seeded():
            raw, reward, terminated, truncated, _ = self.env.step(action)
            last, rows = self.get_observation(raw), (terminated | truncated).nonzero().flatten()
            first = self.get_observation(self.env.reset(env_ids=rows)[0]) if len(rows) else last
        return Step(first, reward.clone(), terminated.clone(), truncated.clone(), last if len(rows) else None)

    def get_observation(self, raw):
        return raw[self.options.group].clone()  # mjlab writes into the same tensors again

    @contextmanager
    def _seeded(self):
        with torch.random.fork_rng():  # mjlab draws from torch's global generator
            self.seed = (self.seed + 1) % 2**63
            yield torch.manual_seed(self.seed)
