"""PPO on Atari Pong: speed of training from pixels, and time to a target."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from rl2cli.benchmarks import own
from rl2cli.benchmarks.bench import NEVER, Bench, Row, sb3_side, thread_counts
from rl2cli.benchmarks.comparison import OURS, Comparison, interleaved

STANDARD_FRAMES = 20_480
SHIPPED_FRAMES = 60_000
"""Frames of a training whose speed is measured."""
TARGET_RETURN = 18.0
EPISODES = 10
LONG = 4 * 3600.0
"""Seconds that one training to the target may take."""

STANDARD_SPEC = """\
# Pong at the usual settings for Atari: speed alone, no evaluation or checkpoint before the end.
name = "pong-standard"
total_frames = {frames}

[env]
id = "ALE/Pong-v5"
num_envs = 8

[network]
name = "cnn"

[algorithm]
name = "ppo"
rollout_length = 128
epochs = 4
minibatch_size = 256
learning_rate = {{ start = 2.5e-4, end = 0.0 }}
clip_coef = {{ start = 0.1, end = 0.0 }}
entropy_coef = 0.01
clip_reward = 1.0
share_network = true

[evaluation]
every = {frames}
episodes = 1
stochastic_episodes = 0

[checkpoint]
every = {frames}
"""


def pong_standard(bench: Bench, row: Row) -> list[Comparison]:
    """Speed of training at the usual settings, against SB3 with one thread and with all."""
    frames = bench.frames or STANDARD_FRAMES
    with tempfile.TemporaryDirectory(prefix="rl2-bench-") as folder:
        spec = Path(folder) / "pong-standard.toml"
        spec.write_text(STANDARD_SPEC.format(frames=frames), encoding="utf-8")

        def ours(seed: int) -> float:
            rate = own.train(spec, seed=seed).frames_per_second
            bench.say(f"rl2, usual settings for Atari: {rate:,.0f} frames/s")
            return rate

        samples = interleaved({OURS: ours, **_peer_rates(bench, frames)}, row.repeats)
    return [Comparison("pong-standard", row.what, row.unit, row.bar, samples)]


def pong_shipped(bench: Bench, row: Row) -> list[Comparison]:
    """Speed and peak memory of the shipped spec, up to a number of frames."""
    frames = bench.frames or SHIPPED_FRAMES
    rates: list[float] = []
    peaks: list[float] = []
    for seed in range(1, row.repeats + 1):
        settings = [f"--set=evaluation.target_return={NEVER}", f"--set=evaluation.every={frames}"]
        run = own.train(bench.specs / "pong.toml", f"--frames={frames}", *settings, seed=seed)
        rates.append(run.frames_per_second)
        if run.process.peak_bytes is not None:
            peaks.append(run.process.peak_bytes / 1e6)
        bench.say(f"rl2 train runs/pong.toml --frames {frames}: {rates[-1]:,.0f} frames/s")
    details = {f"{OURS}: MB at most": peaks} if peaks else {}
    return [Comparison("pong-shipped", row.what, row.unit, row.bar, {OURS: rates}, details)]


def pong_solve(bench: Bench, row: Row) -> list[Comparison]:
    """Time to an evaluation mean of 18 over 10 episodes, from the start of the process."""
    minutes: list[float] = []
    frames: list[float] = []
    for seed in range(1, row.repeats + 1):
        run = own.train(bench.specs / "pong.toml", seed=seed, limit=LONG)
        seconds, reached = run.solved(TARGET_RETURN, EPISODES)
        minutes.append(seconds / 60.0)
        frames.append(reached)
        bench.say(f"rl2 train runs/pong.toml --seed {seed}: {TARGET_RETURN:g} after {minutes[-1]:.1f} min")
    return [
        Comparison("pong-solve", row.what, row.unit, row.bar, {OURS: minutes}, {f"{OURS}: frames until then": frames})
    ]


def _peer_rates(bench: Bench, frames: int) -> dict[str, Callable[[int], float]]:
    if bench.peer is None:
        return {}
    peer = bench.peer

    def measured(threads: int) -> Callable[[int], float]:
        def rate(seed: int) -> float:
            found = peer.rate("pong", seed, frames, threads=threads)
            bench.say(f"{sb3_side(threads)}: {found:,.0f} frames/s")
            return found

        return rate

    return {sb3_side(threads): measured(threads) for threads in thread_counts()}
