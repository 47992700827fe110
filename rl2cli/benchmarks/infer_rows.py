"""`rl2 infer` on CartPole: its speed against the environment's own, and how soon it has played an episode."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rl2cli.benchmarks import own
from rl2cli.benchmarks.bench import Bench, Row
from rl2cli.benchmarks.comparison import OURS, Comparison, interleaved

EPISODES = 1_000
"""Of 500 steps each, by a policy that has learned."""
ENVIRONMENTS = 128
"""That `rl2 infer` steps together for so many episodes."""
ALONE = "the environment alone"
STEPS = 5_000
"""Of all environments, over which their own speed is measured."""


def infer_cartpole(bench: Bench, row: Row) -> list[Comparison]:
    """Frames/s of a benchmark, and of Gymnasium's own vector form under sampled actions."""

    def ours(run_dir: Path) -> float:
        rate = float(own.infer(run_dir, "--episodes", str(EPISODES))[1]["frames_per_second"])
        bench.say(f"rl2 infer: {rate:,.0f} frames/s")
        return rate

    def alone(run_dir: Path) -> float:
        del run_dir
        rate = stepping_rate("CartPole-v1", ENVIRONMENTS, STEPS)
        bench.say(f"{ALONE}: {rate:,.0f} frames/s")
        return rate

    samples = _on_a_trained_run(bench, {OURS: ours, ALONE: alone}, row.repeats)
    return [Comparison("infer-cartpole", row.what, row.unit, row.bar, samples)]


def infer_start(bench: Bench, row: Row) -> list[Comparison]:
    """Seconds from Enter to the exit of an `rl2 infer` of one episode."""

    def ours(run_dir: Path) -> float:
        return own.infer(run_dir, "--episodes", "1")[0]

    samples = _on_a_trained_run(bench, {OURS: ours}, row.repeats)
    return [Comparison("infer-start", row.what, row.unit, row.bar, samples)]


def stepping_rate(env_id: str, num_envs: int, steps: int) -> float:
    """Return the frames/s of Gymnasium's own vector form of `env_id`, under actions that its space samples."""
    import gymnasium

    env = gymnasium.make_vec(env_id, num_envs=num_envs, vectorization_mode="vector_entry_point")
    try:
        env.reset(seed=1)
        before = time.perf_counter()
        for _ in range(steps):
            env.step(env.action_space.sample())
        return num_envs * steps / (time.perf_counter() - before)
    finally:
        env.close()


def _on_a_trained_run(bench: Bench, sides: dict[str, Callable[[Path], float]], repeats: int) -> dict[str, list[float]]:
    """Train `runs/cartpole.toml` once, and measure each side with its run folder."""

    def on(run_dir: Path, side: Callable[[Path], float]) -> Callable[[int], float]:
        return lambda _repeat: side(run_dir)

    with tempfile.TemporaryDirectory(prefix="rl2-bench-") as folder:
        run_dir = Path(folder) / "run"
        own.train_into(run_dir, bench.specs / "cartpole.toml", seed=1)
        return interleaved({name: on(run_dir, side) for name, side in sides.items()}, repeats)
