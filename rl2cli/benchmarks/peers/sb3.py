"""Stable-Baselines3 and sbx, its form in JAX, timed: to a target return, at training, or to the end of a training.

Run as a script by the interpreter that has them; imports nothing of rl2. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_atari_env, make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack

IMPORTED = time.time()

EVALUATION_EPISODES = 20
WARM_UP = 100
"""First frames with updates that an off-policy agent's speed leaves out: sbx compiles in them."""
PACKAGES = ("stable-baselines3", "sbx-rl", "torch", "jax", "gymnasium", "mujoco", "ale-py")


@dataclass(frozen=True)
class Task:
    """What is learned, by which algorithm, with which settings."""

    algorithm: str
    environment: str
    target_return: float
    total_timesteps: int
    """Where a training that never reaches the target ends."""
    num_envs: int = 1
    arguments: dict[str, Any] = field(default_factory=dict)
    """Of the algorithm's class."""
    policy: str = "MlpPolicy"


def linear(start: float) -> Callable[[float], float]:
    """Return a schedule from `start` to 0 over the run."""
    return lambda progress_remaining: progress_remaining * start


TASKS = {
    # rl-baselines3-zoo, hyperparams/ppo.yml, CartPole-v1
    "cartpole-zoo": Task(
        "PPO",
        "CartPole-v1",
        target_return=475.0,
        total_timesteps=100_000,
        num_envs=8,
        arguments={
            "n_steps": 32,
            "batch_size": 256,
            "n_epochs": 20,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "ent_coef": 0.0,
            "learning_rate": linear(0.001),
            "clip_range": linear(0.2),
        },
    ),
    # CleanRL, cleanrl/ppo.py; its separate 64x64 tanh networks, orthogonal weights and Adam epsilon of 1e-5 are
    # SB3's defaults too
    "cartpole-cleanrl": Task(
        "PPO",
        "CartPole-v1",
        target_return=475.0,
        total_timesteps=500_000,
        num_envs=4,
        arguments={
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
    ),
    # rl-baselines3-zoo, hyperparams/ppo.yml, atari
    "pong": Task(
        "PPO",
        "ALE/Pong-v5",
        target_return=18.0,
        total_timesteps=10_000_000,
        num_envs=8,
        arguments={
            "n_steps": 128,
            "batch_size": 256,
            "n_epochs": 4,
            "ent_coef": 0.01,
            "vf_coef": 0.5,
            "learning_rate": linear(2.5e-4),
            "clip_range": linear(0.1),
        },
        policy="CnnPolicy",
    ),
    # rl-baselines3-zoo, hyperparams/sac.yml, Pendulum-v1: the learning rate; the others are defaults, written out
    # because runs/pendulum.toml is compared with them
    "pendulum": Task(
        "SAC",
        "Pendulum-v1",
        target_return=-200.0,
        total_timesteps=20_000,
        arguments={
            "learning_rate": 1e-3,
            "learning_starts": 100,
            "batch_size": 256,
            "buffer_size": 1_000_000,
            "gamma": 0.99,
            "tau": 0.005,
            "train_freq": 1,
            "gradient_steps": 1,
            "policy_kwargs": {"net_arch": [256, 256]},
        },
    ),
    # rl-baselines3-zoo, hyperparams/sac.yml, its MuJoCo defaults
    "halfcheetah": Task(
        "SAC",
        "HalfCheetah-v5",
        target_return=float("inf"),
        total_timesteps=1_000_000,
        arguments={"learning_starts": 10_000},
    ),
}


def build(library: str, task: Task, seed: int) -> BaseAlgorithm:
    """Return an untrained agent of `library`, which is `stable_baselines3` or `sbx`."""
    algorithm: type[BaseAlgorithm] = getattr(importlib.import_module(library), task.algorithm)
    environments = make_environments(task, task.num_envs, seed)
    return algorithm(task.policy, environments, seed=seed, device="cpu", **task.arguments)


def evaluation_environments(task: Task, seed: int) -> VecEnv:
    """Return one for each episode: several times faster for SB3 than one environment after the other."""
    return make_environments(task, EVALUATION_EPISODES, seed + 1_000)


def make_environments(task: Task, count: int, seed: int) -> VecEnv:
    """Return `count` environments of `task`; games with SB3's own preprocessing, four frames stacked."""
    if not task.environment.startswith("ALE/"):
        return make_vec_env(task.environment, n_envs=count, seed=seed)
    importlib.import_module("ale_py")
    one_frame = {"frameskip": 1}  # SB3's wrapper skips frames
    games = make_atari_env(task.environment, n_envs=count, seed=seed, env_kwargs=one_frame)
    return VecFrameStack(games, n_stack=4)


class Check:
    """Called by SB3 at each step; evaluates after the first update past each `every` frames, stops at the target."""

    def __init__(self, agent: BaseAlgorithm, environments: VecEnv, target_return: float, every: int) -> None:
        self.agent = agent
        self.environments = environments
        self.target_return = target_return
        self.every = every
        self.next_check = every
        self.evaluations: list[dict[str, float]] = []

    def __call__(self, step: dict[str, Any], _: dict[str, Any]) -> bool:
        """Return whether to go on."""
        frames = self.agent.num_timesteps - self.agent.n_envs
        is_within_rollout = step.get("n_steps", 0) != 0  # PPO; an off-policy agent has updated after every step
        if is_within_rollout or frames < self.next_check:
            return True
        self.next_check = (frames // self.every + 1) * self.every
        began = time.time()
        mean, _deviation = evaluate_policy(self.agent, self.environments, n_eval_episodes=EVALUATION_EPISODES)
        now = time.time()
        self.evaluations.append({"frames": frames, "mean_return": float(mean), "seconds": now - began, "time": now})
        return float(mean) < self.target_return


def solve(library: str, task: Task, seed: int, check_every: int) -> dict[str, Any]:
    """Train until the target is reached; `solved_time` is None if the run ended before."""
    agent = build(library, task, seed)
    check = Check(agent, evaluation_environments(task, seed), task.target_return, check_every)
    built = time.time()
    agent.learn(task.total_timesteps, callback=check)
    last = check.evaluations[-1]
    return {
        "solved_time": last["time"] if last["mean_return"] >= task.target_return else None,
        "mean_return": last["mean_return"],
        "frames": last["frames"],
        "evaluations": len(check.evaluations),
        "evaluation_seconds": sum(row["seconds"] for row in check.evaluations),
        "build_seconds": built - IMPORTED,
    }


def rate(library: str, task: Task, seed: int, frames: int) -> dict[str, Any]:
    """Train `frames` frames without any evaluation; the clock runs during `learn` alone, and not in the warm-up."""
    agent = build(library, task, seed)
    random_frames = getattr(agent, "learning_starts", 0)  # an off-policy agent's, before its first update
    seconds = 0.0
    if random_frames:
        seconds += _learning_seconds(agent, random_frames)
        agent.learn(WARM_UP, reset_num_timesteps=False)
    before = agent.num_timesteps
    seconds += _learning_seconds(agent, frames - random_frames)
    counted = random_frames + agent.num_timesteps - before
    return {"frames": counted, "frames_per_second": counted / seconds}


def score(library: str, task: Task, seed: int, frames: int) -> dict[str, Any]:
    """Train `frames` frames without any evaluation, then evaluate."""
    agent = build(library, task, seed)
    agent.learn(frames)
    trained = time.time()
    environments = evaluation_environments(task, seed)
    mean, _deviation = evaluate_policy(agent, environments, n_eval_episodes=EVALUATION_EPISODES)
    return {"frames": agent.num_timesteps, "trained_time": trained, "mean_return": float(mean)}


def versions() -> dict[str, str]:
    """Return the versions that a timing depends on, of what is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measure", choices=["solve", "rate", "score", "versions"])
    parser.add_argument("--library", choices=["stable_baselines3", "sbx"], default="stable_baselines3")
    parser.add_argument("--task", choices=sorted(TASKS), default="cartpole-zoo")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, default=60_000, help="of `rate` and `score`")
    parser.add_argument("--check-every", type=int, default=2_000, help="frames between the evaluations of `solve`")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    chosen = (arguments.library, TASKS[arguments.task], arguments.seed)
    if arguments.measure == "solve":
        found = solve(*chosen, arguments.check_every)
    elif arguments.measure == "rate":
        found = rate(*chosen, arguments.frames)
    elif arguments.measure == "score":
        found = score(*chosen, arguments.frames)
    else:
        found = {}
    print(json.dumps({**found, "imported_time": IMPORTED, "versions": versions()}))


def _learning_seconds(agent: BaseAlgorithm, frames: int) -> float:
    began = time.perf_counter()
    agent.learn(frames, reset_num_timesteps=False)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
