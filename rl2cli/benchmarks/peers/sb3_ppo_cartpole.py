"""Stable-Baselines3's PPO on CartPole-v1, timed: `solve` until an evaluation of 475, or the `rate` of training.

Run as a script by the interpreter that has stable_baselines3; imports nothing of rl2. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import stable_baselines3
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

IMPORTED = time.time()

ENVIRONMENT = "CartPole-v1"
TARGET_RETURN = 475.0
EVALUATION_EPISODES = 20
CHECK_EVERY = 2_000  # frames


def linear(start: float) -> Callable[[float], float]:
    """Return a schedule from `start` to 0 over the run."""
    return lambda progress_remaining: progress_remaining * start


SETTINGS: dict[str, dict[str, Any]] = {
    # rl-baselines3-zoo, hyperparams/ppo.yml, CartPole-v1
    "zoo": {
        "num_envs": 8,
        "total_timesteps": 100_000,
        "ppo": {
            "n_steps": 32,
            "batch_size": 256,
            "n_epochs": 20,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "ent_coef": 0.0,
            "learning_rate": linear(0.001),
            "clip_range": linear(0.2),
        },
    },
    # CleanRL, cleanrl/ppo.py; its separate 64x64 tanh networks, orthogonal weights and Adam epsilon of 1e-5 are
    # SB3's defaults too
    "cleanrl": {
        "num_envs": 4,
        "total_timesteps": 500_000,
        "ppo": {
            "n_steps": 128,
            "batch_size": 128,
            "n_epochs": 4,
            "gae_lambda": 0.95,
            "gamma": 0.99,
            "ent_coef": 0.01,
            "vf_coef": 0.5,
            "max_grad_norm": 0.5,
            "learning_rate": linear(2.5e-4),
            "clip_range": 0.2,
            "clip_range_vf": 0.2,
        },
    },
}


def build(settings: str, seed: int) -> PPO:
    """Return an untrained agent with the named settings."""
    chosen = SETTINGS[settings]
    environments = make_vec_env(ENVIRONMENT, n_envs=chosen["num_envs"], seed=seed)
    return PPO("MlpPolicy", environments, seed=seed, device="cpu", **chosen["ppo"])


class Check:
    """Called by SB3 at each step; evaluates after the first update past each 2,000 frames, stops at the target."""

    def __init__(self, agent: PPO, environments: VecEnv) -> None:
        self.agent = agent
        self.environments = environments
        self.next_check = CHECK_EVERY
        self.evaluations: list[dict[str, float]] = []

    def __call__(self, step: dict[str, Any], _: dict[str, Any]) -> bool:
        """Return whether to go on."""
        frames = self.agent.num_timesteps - self.agent.n_envs
        if step["n_steps"] != 0 or frames < self.next_check:
            return True
        self.next_check = (frames // CHECK_EVERY + 1) * CHECK_EVERY
        began = time.time()
        mean, _deviation = evaluate_policy(self.agent, self.environments, n_eval_episodes=EVALUATION_EPISODES)
        now = time.time()
        self.evaluations.append({"frames": frames, "mean_return": float(mean), "seconds": now - began, "time": now})
        return float(mean) < TARGET_RETURN


def solve(settings: str, seed: int) -> dict[str, Any]:
    """Train until the target is reached; `solved_time` is None if the run ended before."""
    agent = build(settings, seed)
    # One episode in each: several times faster for SB3 than one environment after the other.
    check = Check(agent, make_vec_env(ENVIRONMENT, n_envs=EVALUATION_EPISODES, seed=seed + 1_000))
    built = time.time()
    agent.learn(SETTINGS[settings]["total_timesteps"], callback=check)
    last = check.evaluations[-1]
    return {
        "solved_time": last["time"] if last["mean_return"] >= TARGET_RETURN else None,
        "mean_return": last["mean_return"],
        "frames": last["frames"],
        "evaluations": len(check.evaluations),
        "evaluation_seconds": sum(row["seconds"] for row in check.evaluations),
        "build_seconds": built - IMPORTED,
    }


def rate(settings: str, seed: int, frames: int) -> dict[str, Any]:
    """Train `frames` frames without any evaluation; the clock runs during `learn` alone."""
    agent = build(settings, seed)
    began = time.perf_counter()
    agent.learn(frames)
    seconds = time.perf_counter() - began
    return {"frames": agent.num_timesteps, "frames_per_second": agent.num_timesteps / seconds}


def versions() -> dict[str, str]:
    """Return the versions that a timing depends on."""
    return {
        "python": platform.python_version(),
        "stable-baselines3": stable_baselines3.__version__,
        "torch": torch.__version__,
        "gymnasium": gymnasium.__version__,
    }


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measure", choices=["solve", "rate", "versions"])
    parser.add_argument("--settings", choices=sorted(SETTINGS), default="zoo")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, default=60_000, help="of `rate`")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.measure == "solve":
        found = solve(arguments.settings, arguments.seed)
    elif arguments.measure == "rate":
        found = rate(arguments.settings, arguments.seed, arguments.frames)
    else:
        found = {}
    print(json.dumps({**found, "imported_time": IMPORTED, "versions": versions()}))


if __name__ == "__main__":
    main()
