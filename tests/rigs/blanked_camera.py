"""A policy that sees, with its pictures blanked: `python tests/rigs/blanked_camera.py RUN [--episodes 20]`.

A policy that does as well without its pictures has not learned to see. Prints the mean return of as many episodes with
the pictures as they are, black, and grey; each of them is an environment's first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.envs import make_env_adapter
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.inference.policy import load_policy
from rl2cli.keys import ACTION, Observation, map_observation

Change = Callable[[torch.Tensor], torch.Tensor]


def mean_return(algorithm: BaseAlgorithm, env: BaseEnvAdapter, change: Change, seed: int) -> tuple[float, float]:
    """Return mean and deviation over the first episode of each environment, with pictures that `change` changed."""
    observation, _ = env.reset(np.arange(seed, seed + env.num_envs))
    returns = torch.zeros(env.num_envs)
    running = torch.ones(env.num_envs, dtype=torch.bool)
    while running.any():
        step = env.step(algorithm.act(blanked(observation, change))[ACTION])
        returns += step.reward * running
        running &= ~(step.terminated | step.truncated)
        observation = step.observation
    return returns.mean().item(), returns.std().item()


def blanked(observation: Observation, change: Change) -> Observation:
    return map_observation(lambda leaf: change(leaf) if leaf.dtype == torch.uint8 else leaf, observation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1_000_000)
    asked = parser.parse_args()
    policy = load_policy(asked.run)
    policy.close()
    env = make_env_adapter(policy.spec.env, num_envs=asked.episodes, workers=0)
    changes: dict[str, Change] = {
        "as they are": lambda image: image,
        "black": torch.zeros_like,
        "grey": lambda image: torch.full_like(image, 128),
    }
    for name, change in changes.items():
        mean, deviation = mean_return(policy.algorithm, env, change, asked.seed)
        print(f"pictures {name}: {mean:.1f} ± {deviation:.1f} ({asked.episodes} episodes)", flush=True)
    env.close()


if __name__ == "__main__":
    main()
