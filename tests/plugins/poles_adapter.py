"""Many cart-poles in PyTorch, stepped at once on any device: a vectorised adapter, as of a simulator on a GPU."""

import torch
from gymnasium import spaces
from pydantic import Field

from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.seeding import joint_seed
from rl2cli.options import Options


class PolesAdapter(BaseEnvAdapter):
    """N cart-poles as arithmetic on one tensor, which never leaves its device."""

    class Options(Options):
        force: float = Field(10.0, gt=0.0, description="Newtons of a full push.")
        max_steps: int = Field(500, ge=1, description="Steps after which an episode is cut.")

    vectorised = True
    resume = "state"  # `get_state` has all of it

    def setup(self):
        self.observation_space = spaces.Box(-float("inf"), float("inf"), (4,))
        self.action_space = spaces.Box(-1.0, 1.0, (1,))
        self.generator = torch.Generator(self.device)
        self.state = torch.zeros(self.num_envs, 4, device=self.device)  # place, speed, angle, speed of the angle
        self.steps = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)

    def reset(self, seed=None, mask=None):
        self.generator.manual_seed(joint_seed(seed))
        rows = torch.ones(self.num_envs, dtype=torch.bool) if mask is None else torch.from_numpy(mask)
        self._begin(rows.to(self.device))
        return self.state, {}

    def step(self, action):
        speed, angle, turning = self.state[:, 1:].unbind(-1)  # each [N]
        sine, cosine = angle.sin(), angle.cos()
        push = (self.options.force * action.squeeze(-1) + 0.05 * turning**2 * sine) / 1.1
        turned = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
        change = torch.stack([speed, push - 0.05 * turned * cosine / 1.1, turning, turned], -1)
        final = self.state + 0.02 * change
        self.steps = self.steps + 1
        terminated = (final[:, 0].abs() > 2.4) | (final[:, 2].abs() > 0.21)
        truncated = (self.steps >= self.options.max_steps) & ~terminated
        self.state = final
        self._begin(terminated | truncated)
        return Step(self.state, torch.ones_like(final[:, 0]), terminated, truncated, final)

    def _begin(self, rows):
        """Start new episodes in `rows` [N] bool."""
        first = torch.empty_like(self.state).uniform_(-0.05, 0.05, generator=self.generator)
        self.state = torch.where(rows.unsqueeze(-1), first, self.state)
        self.steps = self.steps.masked_fill(rows, 0)

    def get_state(self):
        return {"state": self.state, "steps": self.steps, "generator": self.generator.get_state()}

    def set_state(self, state):
        self.generator.set_state(state["generator"].cpu())
        self.state, self.steps = state["state"].to(self.device), state["steps"].to(self.device)
        return self.state, {}
