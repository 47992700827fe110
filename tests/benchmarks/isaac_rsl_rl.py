"""Isaac Lab's own training of a task with rsl_rl, until it is learned, without a GPU.

    python tests/benchmarks/isaac_rsl_rl.py TASK RETURN [--num-envs N] [--seed S]

Runs the entry point that Isaac Lab ships, with the settings that it registered for the task, on PhysX as a library;
needs rsl-rl-lib beside `rl2cli[isaac]`. Prints seconds since the process began, and frames, when the mean of the last
100 episodes of training first reaches RETURN. `rl2 train` on the shipped spec is what it is compared with.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from typing import Any

import psutil
import torch

from rl2cli.envs.isaac.assets import write_assets
from rl2cli.envs.warp_on_cpu import start_warp

EPISODES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("target", type=float)
    parser.add_argument("--num-envs", type=int)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = psutil.Process().create_time()
    torch.set_num_threads(1)
    os.environ["ISAACSIM_ASSET_ROOT"] = str(write_assets())
    start_warp()
    from isaaclab_rl.entrypoints.backends import train_rsl_rl
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper

    returns: deque[float] = deque(maxlen=EPISODES)
    step = RslRlVecEnvWrapper.step
    running: list[torch.Tensor] = []
    frames = 0

    def counted(self: Any, actions: torch.Tensor) -> Any:
        nonlocal frames
        answer = step(self, actions)
        reward, done = answer[1], answer[2].bool()
        if not running:
            running.append(torch.zeros_like(reward))
        running[0] += reward
        returns.extend(running[0][done].tolist())
        running[0][done] = 0.0
        frames += len(reward)
        if len(returns) == EPISODES and sum(returns) / EPISODES >= asked.target:
            print(f"solved {time.time() - began:.1f} s {frames:,} frames", flush=True)
            os._exit(0)
        return answer

    RslRlVecEnvWrapper.step = counted
    arguments = [
        "--task",
        asked.task,
        "--device",
        "cpu",
        "--seed",
        str(asked.seed),
        "presets=ovphysx",
        "agent.device=cpu",
    ]
    if asked.num_envs:
        arguments += ["--num_envs", str(asked.num_envs)]
    train_rsl_rl.run(arguments)
    print(f"not solved in {time.time() - began:.1f} s, {frames:,} frames: {sum(returns) / max(len(returns), 1):.2f}")
    sys.exit(1)


if __name__ == "__main__":
    main()
