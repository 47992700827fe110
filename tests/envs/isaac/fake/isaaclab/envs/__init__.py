"""Environments: like Isaac Lab's, they reset in the step that ended an episode and fill the same buffers again."""

import math
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import torch

from isaaclab import app

_context: list[object] = []


class ManagerBasedRLEnv:
    """A point that is pushed; far from the middle is an end. Observed: place, age; the critic also sees the goal."""

    def __init__(self, cfg: Any) -> None:
        assert app.is_running, "the app has not started"
        if _context:
            raise RuntimeError("Simulation context already exists. Cannot create a new one.")
        if cfg.robot.usd_path and not cfg.robot.usd_path.startswith("/"):
            raise FileNotFoundError(f"Unable to find the file: {cfg.robot.usd_path}")
        _context.append(self)
        self.cfg, self.device, n = cfg, torch.device(cfg.sim.device), cfg.scene.num_envs
        self.num_envs, self.step_dt, self.extras = n, cfg.sim.dt * cfg.decimation, {}
        spaces = {"policy": gymnasium.spaces.Box(-math.inf, math.inf, (2,), np.float32)}
        if cfg.state_space:
            spaces["critic"] = gymnasium.spaces.Box(-math.inf, math.inf, (3,), np.float32)
        self.single_observation_space = gymnasium.spaces.Dict(spaces)
        self.single_action_space = gymnasium.spaces.Box(-math.inf, math.inf, (1,), np.float32)
        self.place, self.age, self.goal = torch.zeros(n), torch.zeros(n), torch.zeros(n)
        self.buffers = {"policy": torch.zeros(n, 2), "critic": torch.zeros(n, 3)}
        self.reward, self.terminated, self.timed_out = torch.zeros(n), *torch.zeros(2, n, dtype=torch.bool)
        self.scene = _Scene(cfg, n)

    def reset(self, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            torch.manual_seed(seed)
        self._reset_idx(torch.arange(self.num_envs))
        return self._compute_observations(), self.extras

    def step(self, action: torch.Tensor) -> Any:
        self.place += 0.1 * action[:, 0].clamp(-1.0, 1.0) + self.cfg.drift
        self.age += 1
        self.terminated[:] = self.place.abs() > 1.0
        self.timed_out[:] = self.age >= self.cfg.episode_length_s / self.step_dt
        self.reward[:] = 1.0 - (self.place - self.goal).abs()
        ended = (self.terminated | self.timed_out).nonzero().squeeze(-1)
        if len(ended):
            if self.cfg.compute_final_obs:
                self.extras["final_obs"] = self._compute_observations()
            self.extras["log"] = {"Metrics/age": self.age[ended].mean(), "text": "no number"}
            self._reset_idx(ended)
        return self._compute_observations(), self.reward, self.terminated, self.timed_out, self.extras

    def close(self) -> None:
        _context.clear()

    def _reset_idx(self, rows: torch.Tensor) -> None:
        self.place[rows] = torch.rand(len(rows)) - 0.5
        self.goal[rows] = torch.rand(len(rows)) - 0.5
        self.age[rows] = 0

    def _compute_observations(self) -> dict[str, torch.Tensor]:
        self.buffers["policy"][:] = torch.stack([self.place, self.age], -1)
        self.buffers["critic"][:] = torch.stack([self.place, self.age, self.goal], -1)
        return {key: self.buffers[key] for key in self.single_observation_space.spaces}


class _Scene(dict[str, Any]):
    def __init__(self, cfg: Any, num_envs: int) -> None:
        super().__init__()
        self.env_origins = torch.zeros(num_envs, 3)
        self.articulations = {"robot": SimpleNamespace(data=SimpleNamespace(root_pos_w=torch.zeros(num_envs, 3)))}
        for name, part in vars(cfg.scene).items():
            if hasattr(part, "renderer_cfg"):
                self[name] = _Camera(part, num_envs)


class _Camera:
    def __init__(self, cfg: Any, num_envs: int) -> None:
        self.data = SimpleNamespace(
            output={"rgb": torch.full((num_envs, cfg.height, cfg.width, 3), 7, dtype=torch.uint8)}
        )

    def set_world_poses_from_view(self, eyes: torch.Tensor, targets: torch.Tensor) -> None:
        assert eyes.shape == targets.shape

    def update(self, dt: float, force_recompute: bool) -> None:
        pass
