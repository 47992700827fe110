"""Policies to export: an environment with any of a few small spaces, and algorithms as if they had learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from rl2cli.envs import make_env_adapter
from rl2cli.inference.policy import Policy
from rl2cli.spec import load_spec_dict
from rl2cli.training.build import build_algorithm
from rl2cli.training.checkpoint_folder import Checkpoint

VECTOR = spaces.Box(-3.0, 3.0, (5,), np.float64)
IMAGE = spaces.Box(0, 255, (12, 10, 3), np.uint8)
OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "vector": VECTOR,
    "image": IMAGE,
    "dict": spaces.Dict(
        {
            "picture": IMAGE,
            "in ner": spaces.Dict(
                {"speed": spaces.Box(-1.0, 1.0, (2,), np.float32), "place": spaces.Discrete(4, start=3)}
            ),
        }
    ),
    "tuple": spaces.Tuple((spaces.MultiDiscrete([3, 2], start=[1, 0]), spaces.MultiBinary(3), VECTOR)),
}
BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 5.0], np.float32))
ACTIONS: dict[str, spaces.Space[Any]] = {
    "box": BOX,
    "double": spaces.Box(-0.1, 0.1, (2, 2), np.float64),
    "whole": spaces.Box(-3, 3, (2,), np.int32),
    "discrete": spaces.Discrete(3, start=-1),
    "multi": spaces.MultiDiscrete([3, 4], start=[0, 5]),
    "bits": spaces.MultiBinary(3),
    "both": spaces.Dict({"push": spaces.Discrete(3, start=2), "steer": BOX, "keys": spaces.MultiBinary(2)}),
}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("vector", {"hidden_sizes": [16]}),
    "cnn": ("image", {"hidden_sizes": [16], "channels": [4, 4], "kernel_sizes": [4, 3], "strides": [2, 1]}),
    "impala": ("image", {"hidden_sizes": [16], "channels": [4], "blocks": 1}),
    "multi": (
        "dict",
        {"hidden_sizes": [16], "cnn": {"channels": [4], "kernel_sizes": [4], "strides": [2], "hidden_sizes": [8]}},
    ),
}
"""Network → the observation it is tried on, and its options."""


class Anything(gymnasium.Env[Any, Any]):
    """Observes whatever, takes whatever; allows some actions only where `masked`; lasts 20 steps."""

    def __init__(self, observation: str, action: str, masked: bool = False) -> None:
        self.observation_space, self.action_space = OBSERVATIONS[observation], ACTIONS[action]
        self.masked, self.t = masked, 0

    def _observe(self) -> tuple[Any, dict[str, Any]]:
        return self.observation_space.sample(), {"action_mask": np.arange(3) != self.t % 3} if self.masked else {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self._observe()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.t += 1
        observation, info = self._observe()
        return observation, 1.0, False, self.t == 20, info


gymnasium.register("Anything-v0", Anything)


def make_policy(
    algorithm: dict[str, Any],
    network: str = "mlp",
    action: str = "discrete",
    observation: str = "",
    masked: bool = False,
) -> Policy:
    """Return a policy that has seen observations and whose weights are no first ones."""
    usual, options = NETWORKS[network]
    kwargs = {"observation": observation or usual, "action": action, "masked": masked}
    algorithm = {"rollout_length": 16, "minibatch_size": 32} | algorithm if algorithm["name"] == "ppo" else algorithm
    spec = load_spec_dict(
        {
            "total_frames": 256,
            "device": "cpu",
            "env": {"id": "Anything-v0", "num_envs": 2, "workers": 0, "kwargs": kwargs},
            "network": {"name": network, **options},
            "algorithm": algorithm,
        }
    ).spec
    env = make_env_adapter(spec.env, num_envs=2, workers=0)
    built = build_algorithm(spec, env, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.empty_like(parameter).normal_(0.0, 0.05, generator=generator))
    normalizer = getattr(built, "normalizer", None) or built.learner.normalizer
    normalizer.update(env.reset(np.arange(2))[0])
    return Policy(built, spec, Checkpoint(0, Path(), {}, {}), Path(), env)
