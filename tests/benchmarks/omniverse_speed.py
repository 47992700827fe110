"""What training costs beside the physics: `python tests/benchmarks/omniverse_speed.py [SPEC] [--repeats K]`.

Takes turns between the engine of the spec's scene on its own, with as many environments and random efforts, and a whole
`rl2 train` of the spec without evaluations; prints frames/s of both, medians and the ratio. Bare stepping is what the
engine needs for a frame: efforts written, `decimation` steps, positions and velocities of the joints read.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from rl2cli.benchmarks.own import train
from rl2cli.envs.omniverse.adapter import OmniverseAdapter
from rl2cli.envs.omniverse.engine import Quantity
from rl2cli.spec import load_spec

STEPS = 2_000


def bare(spec: str) -> float:
    """Return frames/s of the engine alone."""
    env = load_spec(spec).spec.env
    adapter = OmniverseAdapter(env.options, num_envs=env.num_envs)
    engine = adapter.make_engine()
    shape = env.num_envs, len(engine.joint_names)
    position, velocity = torch.zeros(shape), torch.zeros(shape)
    generator = torch.Generator().manual_seed(0)
    efforts = [torch.rand(shape, generator=generator) * 2 - 1 for _ in range(64)]
    options = adapter.options
    began = 0.0
    for step in range(-200, STEPS):
        if step == 0:
            began = time.perf_counter()
        engine.write(Quantity.JOINT_EFFORT, efforts[step % 64])
        engine.step(options.dt, options.decimation)
        engine.read(Quantity.JOINT_POSITION, position)
        engine.read(Quantity.JOINT_VELOCITY, velocity)
    seconds = time.perf_counter() - began
    engine.close()
    return STEPS * env.num_envs / seconds


def trained(spec: str, frames: int, seed: int) -> float:
    """Return frames/s of training, evaluations left out."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.toml"
        text = Path(spec).read_text(encoding="utf-8").replace("target_return", "# target_return")
        path.write_text(text.replace("#:schema", "# schema"), encoding="utf-8")
        run = train(path, "--frames", str(frames), "--set", f"evaluation.every={frames}", seed=seed)
    return run.frames_per_second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", nargs="?", default=str(Path(__file__).parents[2] / "runs" / "omniverse-cartpole.toml"))
    parser.add_argument("--frames", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bare", action="store_true", help="only that, of one process")
    asked = parser.parse_args()
    if asked.bare:
        print(bare(asked.spec))
        return
    physics, training = [], []
    for seed in range(1, asked.repeats + 1):
        command = [sys.executable, __file__, asked.spec, "--bare"]
        physics.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
        training.append(trained(asked.spec, asked.frames, seed))
        print(f"bare {physics[-1]:,.0f}  training {training[-1]:,.0f} frames/s", flush=True)
    middle = statistics.median(physics), statistics.median(training)
    print(f"medians: bare {middle[0]:,.0f}, training {middle[1]:,.0f}: {middle[1] / middle[0]:.2f}")


if __name__ == "__main__":
    main()
