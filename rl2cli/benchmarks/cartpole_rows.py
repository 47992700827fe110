"""PPO on CartPole: time to the target, and speed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from rl2cli.benchmarks import own
from rl2cli.benchmarks.bench import NEVER, Bench, Row, parts_of_time, solves
from rl2cli.benchmarks.comparison import OURS, Comparison, interleaved
from rl2cli.benchmarks.peer import Solved

TARGET_RETURN = 475.0
CHECK_EVERY = 2_000
"""Frames between the evaluations of SB3."""
RATE_FRAMES = 60_000
"""Frames of a training whose speed is measured."""
SB3_ZOO, SB3_CLEANRL = "SB3, zoo settings", "SB3, CleanRL settings"

ZOO_SPEC = """\
# CartPole with rl-baselines3-zoo's settings: speed alone, evaluation and checkpoints only at the end.
name = "cartpole-zoo"
total_frames = {frames}
compile = true

[env]
id = "CartPole-v1"
num_envs = 8

[network]
name = "mlp"
hidden_sizes = [64, 64]
activation = "tanh"

[algorithm]
name = "ppo"
rollout_length = 32
epochs = 20
minibatch_size = 256
gamma = 0.98
gae_lambda = 0.8
entropy_coef = 0.0
value_coef = 0.5
max_grad_norm = 0.5
learning_rate = {{ start = 0.001, end = 0.0 }}
clip_coef = {{ start = 0.2, end = 0.0 }}

[evaluation]
every = {frames}
episodes = 1
stochastic_episodes = 0

[checkpoint]
every = {frames}

[logging]
tensorboard = false
"""


def cartpole_solve(bench: Bench, row: Row) -> list[Comparison]:
    """Time to an evaluation mean of 475, from the start of the process."""
    theirs: dict[str, Callable[[int], Solved]] = {}
    if bench.peer is not None:
        peer = bench.peer
        theirs[SB3_ZOO] = lambda seed: peer.solve("cartpole-zoo", seed, check_every=CHECK_EVERY)
        theirs[SB3_CLEANRL] = lambda seed: peer.solve("cartpole-cleanrl", seed, check_every=CHECK_EVERY)
    found = solves(bench, bench.train_cartpole, theirs, TARGET_RETURN, row.repeats)
    seconds = {side: [solved.seconds for solved in runs] for side, runs in found.items()}
    frames = {f"{side}: frames": [solved.frames for solved in runs] for side, runs in found.items()}
    return [Comparison("cartpole-solve", row.what, row.unit, row.bar, seconds, frames | parts_of_time(found))]


def cartpole_zoo(bench: Bench, row: Row) -> list[Comparison]:
    """Speed of training at the zoo's settings."""
    frames = bench.frames or RATE_FRAMES
    with tempfile.TemporaryDirectory(prefix="rl2-bench-") as folder:
        spec = Path(folder) / "cartpole-zoo.toml"
        spec.write_text(ZOO_SPEC.format(frames=frames), encoding="utf-8")

        def ours(seed: int) -> float:
            rate = own.train(spec, seed=seed).frames_per_second
            bench.say(f"rl2, zoo settings: {rate:,.0f} frames/s")
            return rate

        samples = interleaved({OURS: ours} | _peer_rate(bench), row.repeats)
    return [Comparison("cartpole-zoo", row.what, row.unit, row.bar, samples)]


def cartpole_shipped(bench: Bench, row: Row) -> list[Comparison]:
    """Speed of the shipped spec: as it is, beyond its target return to its total frames, and compiled."""
    whole: list[float] = []
    compiled: list[float] = []

    def variant(name: str, setting: str, seed: int) -> float:
        rate = own.train(bench.specs / "cartpole.toml", "--set", setting, seed=seed).frames_per_second
        bench.say(f"rl2 train runs/cartpole.toml {name}: {rate:,.0f} frames/s")
        return rate

    def ours(seed: int) -> float:
        whole.append(variant("to its total frames", f"evaluation.target_return={NEVER}", seed))
        return bench.train_cartpole(seed).frames_per_second

    samples = interleaved({OURS: ours} | _peer_rate(bench), row.repeats)
    # Last, because from here on the compiled code is in the user's cache, and a run as shipped would use it.
    compiled.extend(variant("with compile = true", "compile=true", seed) for seed in range(1, row.repeats + 1))
    details = {f"{OURS}: frames/s without target_return": whole, f"{OURS}: frames/s with compile = true": compiled}
    return [Comparison("cartpole-shipped", row.what, row.unit, row.bar, samples, details)]


def _peer_rate(bench: Bench) -> dict[str, Callable[[int], float]]:
    if bench.peer is None:
        return {}
    peer, frames = bench.peer, bench.frames or RATE_FRAMES

    def rate(seed: int) -> float:
        found = peer.rate("cartpole-zoo", seed, frames)
        bench.say(f"{SB3_ZOO}: {found:,.0f} frames/s")
        return found

    return {SB3_ZOO: rate}
