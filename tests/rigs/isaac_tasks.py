"""Which of Isaac Lab's registered tasks work here: a Markdown table, for rl2cli/README.md.

Every task's configuration is loaded, and its assets are looked for in the asset root; one that has them is stepped in
a process of its own. `--only TEXT` takes the tasks whose names contain TEXT; `--seconds` is how long one may take, 0 to
step none.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections import Counter

from rl2cli.envs.isaac import assets
from rl2cli.envs.isaac.adapter import IsaacAdapter
from rl2cli.envs.isaac.configuration import asset_files, load_task, task_names
from rl2cli.envs.isaac.options import IsaacOptions
from rl2cli.envs.isaac.quiet import chatter_kept
from rl2cli.errors import RL2Error

STEP = """
import numpy as np, sys, torch
from rl2cli.envs import make_env_adapter
from rl2cli.spaces import sample_actions
env = make_env_adapter({"backend": "isaac", "id": sys.argv[1], "physics": sys.argv[2], "num_envs": 4})
env.reset(np.arange(4))
generator = np.random.default_rng(0)
for _ in range(20):
    step = env.step(sample_actions(env.action_space, 4, generator))
    assert torch.isfinite(step.reward).all()
env.close()
"""
TRAINED = {
    "Isaac-Cartpole-Direct": "trained, `runs/isaac-cartpole.toml`",
    "Isaac-Ant-Direct": "trained, `runs/isaac-ant.toml`",
}


def outcome(name: str, physics: str, seconds: float, root: str) -> str:
    """Return what became of a task, in words."""
    try:
        with chatter_kept():
            task = load_task(IsaacOptions.model_validate({"id": name, "physics": physics}))
            assets.require_assets(task.name, asset_files(task.configuration), root)
    except RL2Error as error:
        return f"not tried: {error.message.partition(', which the asset root')[0].removeprefix(f'{name} ')}"
    except Exception as error:
        return f"not tried: its configuration raised {type(error).__name__}"
    if not seconds:
        return "not tried: its assets are there"
    began = time.monotonic()
    try:
        ended = subprocess.run(
            [sys.executable, "-c", STEP, name, physics], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"tried: not ready after {seconds:.0f} s"
    if ended.returncode == 0:
        return TRAINED.get(name, f"stepped ({physics}, {time.monotonic() - began:.0f} s)")
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    return f"failed: {lines[-1][:160]}" if lines else "failed without a word"


def main() -> None:
    """Print the table, and how many tasks ended how."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--physics", default="ovphysx", choices=("ovphysx", "newton_mjwarp"))
    arguments = parser.parse_args()
    settled, _ = IsaacAdapter.settle(IsaacOptions.model_validate({"id": "any", "physics": arguments.physics}))
    assert isinstance(settled, IsaacOptions)
    root = assets.use_root(settled.asset_root)
    print("| task | |\n| --- | --- |")
    counted: Counter[str] = Counter()
    with contextlib.suppress(KeyboardInterrupt):
        for name in task_names():
            if arguments.only in name:
                said = outcome(name, arguments.physics, arguments.seconds, root)
                counted[said.partition(" ")[0].rstrip(":,")] += 1
                print(f"| `{name}` | {said} |", flush=True)
    print(f"\n{dict(counted)}", file=sys.stderr)


if __name__ == "__main__":
    main()
