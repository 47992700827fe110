"""SAC against Stable-Baselines3 and sbx: speed, time and frames to a swung-up pendulum, HalfCheetah's return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

from rl2cli.benchmarks import own
from rl2cli.benchmarks.bench import (
    EVALUATION_EPISODES,
    NEVER,
    Bench,
    Row,
    parts_of_time,
    sb3_side,
    solves,
    thread_counts,
)
from rl2cli.benchmarks.comparison import OURS, Bar, Comparison, interleaved
from rl2cli.benchmarks.own import TrainRun
from rl2cli.benchmarks.peer import Peer, Scored, Solved

SBX = "sbx"
TARGET_RETURN = -200.0
RATE_FRAMES = 5_000
"""Frames of a training whose speed is measured, the same on every side."""
THREADS_FRAMES = 1_000
"""Frames after which it is decided how many threads SB3 is fastest with, where `sac-pendulum` has not measured it."""

AHEAD = Bar(1.0, 1.0, lower_is_better=False, of_ratio=True)
FEWER_FRAMES = Bar(1.0, 0.7, lower_is_better=True, of_ratio=True)

HALFCHEETAH_FRAMES = 100_000
HALFCHEETAH_MOST = 300_000
"""Frames at which rl2 ends at the latest; it reaches the end of SB3's time before, or is three times as fast."""
HALFCHEETAH_EVERY = 20_000
"""Frames between rl2's evaluations."""
LONG = 4 * 3600.0
"""Seconds that one training on HalfCheetah may take."""


def sac_pendulum(bench: Bench, row: Row) -> list[Comparison]:
    """Speed of training at equal settings, against SB3 with one thread and with all, and against sbx."""
    frames = bench.frames or RATE_FRAMES

    def ours(seed: int) -> float:
        settings = [f"--set=evaluation.target_return={NEVER}", f"--set=evaluation.every={frames}"]
        run = own.train(bench.specs / "pendulum.toml", f"--frames={frames}", *settings, seed=seed)
        bench.say(f"rl2 train runs/pendulum.toml --frames {frames}: {run.frames_per_second:,.0f} frames/s")
        return run.frames_per_second

    samples = interleaved({OURS: ours, **_peer_rates(bench, frames)}, row.repeats)
    sb3 = {side: rates for side, rates in samples.items() if side != SBX}
    sbx = {side: rates for side, rates in samples.items() if side in (OURS, SBX)}
    return [
        Comparison("sac-pendulum", row.what, row.unit, row.bar, sb3),
        Comparison("sac-pendulum, sbx", "the same, against sbx after it has compiled", row.unit, AHEAD, sbx),
    ]


def sac_pendulum_solve(bench: Bench, row: Row) -> list[Comparison]:
    """Time and frames to an evaluation mean of -200, the time from the start of the process."""
    theirs: dict[str, Callable[[int], Solved]] = {}
    if bench.peer is not None:
        peer, threads, every = bench.peer, _best_threads(bench), _evaluation_interval(bench)
        theirs[sb3_side(threads)] = lambda seed: peer.solve("pendulum", seed, check_every=every, threads=threads)
    found = solves(bench, lambda seed: bench.train("pendulum", seed), theirs, TARGET_RETURN, row.repeats)
    seconds = {side: [solved.seconds for solved in runs] for side, runs in found.items()}
    frames = {side: [solved.frames for solved in runs] for side, runs in found.items()}
    return [
        Comparison("sac-pendulum-solve", row.what, row.unit, row.bar, seconds, parts_of_time(found)),
        Comparison("sac-pendulum-solve, frames", "frames until that evaluation", "frames", FEWER_FRAMES, frames),
    ]


def sac_halfcheetah(bench: Bench, row: Row) -> list[Comparison]:
    """Return after 100,000 frames, and in the time that SB3 takes for them."""
    threads = _best_threads(bench)
    runs: list[TrainRun] = []
    scores: list[Scored] = []
    for seed in range(1, row.repeats + 1):
        runs.append(_train_halfcheetah(bench, seed))
        if bench.peer is not None:
            scores.append(bench.peer.score("halfcheetah", seed, HALFCHEETAH_FRAMES, threads=threads, limit=LONG))
            bench.say(f"{sb3_side(threads)}, seed {seed}: {scores[-1].mean_return:,.0f} in {scores[-1].seconds:,.0f} s")
    whole = [run.evaluated_at(HALFCHEETAH_FRAMES) for run in runs]
    in_time = [run.evaluated_within(score.seconds) for run, score in zip(runs, scores, strict=False)]
    theirs = {sb3_side(threads): [score.mean_return for score in scores]}
    seconds = {
        f"{OURS}: s until then": [found.seconds for found in whole],
        f"{sb3_side(threads)}: s until then": [score.seconds for score in scores],
    }
    frames = {f"{OURS}: frames until then": [float(found.frames) for found in in_time]}
    samples = [{OURS: [found.mean_return for found in evaluated], **theirs} for evaluated in (whole, in_time)]
    what = f"return of runs/halfcheetah.toml after {HALFCHEETAH_FRAMES:,} frames"
    return [
        Comparison("sac-halfcheetah", what, row.unit, AHEAD, samples[0], seconds),
        Comparison("sac-halfcheetah, time", f"{row.what}, evaluations included", row.unit, row.bar, samples[1], frames),
    ]


def _train_halfcheetah(bench: Bench, seed: int) -> TrainRun:
    """Run `runs/halfcheetah.toml` as it is, but for when it ends and what its evaluations are."""
    from rl2cli.spec import load_spec

    path = bench.specs / "halfcheetah.toml"
    settings = {
        "target_return": NEVER,
        "every": HALFCHEETAH_EVERY,
        "episodes": EVALUATION_EPISODES,
        "stochastic_episodes": 0,
    }
    frames = min(load_spec(path).spec.total_frames, HALFCHEETAH_MOST)
    arguments = [f"--frames={frames}", *(f"--set=evaluation.{key}={value}" for key, value in settings.items())]
    run = own.train(path, *arguments, seed=seed, limit=LONG)
    last = run.evaluated_at(frames)
    bench.say(f"rl2 train runs/halfcheetah.toml --seed {seed}: {last.mean_return:,.0f} in {last.seconds:,.0f} s")
    return run


def _peer_rates(bench: Bench, frames: int) -> Mapping[str, Callable[[int], float]]:
    """Return what measures the peers' speed: SB3 with each number of threads, and sbx where it is installed."""
    if bench.peer is None:
        return {}
    measures = {
        sb3_side(threads): partial(_sb3_rate, bench, bench.peer, threads, frames) for threads in thread_counts()
    }
    if bench.peer.has_sbx:
        return measures | {SBX: partial(_sbx_rate, bench, bench.peer, frames)}
    bench.say("sbx is not in the peer's Python, so Stable-Baselines3 alone is compared; to add it: pip install sbx-rl")
    return measures


def _sb3_rate(bench: Bench, peer: Peer, threads: int, frames: int, seed: int) -> float:
    rate = peer.rate("pendulum", seed, frames, threads=threads)
    bench.sac_rates.setdefault(threads, []).append(rate)
    bench.say(f"{sb3_side(threads)}: {rate:,.0f} frames/s")
    return rate


def _sbx_rate(bench: Bench, peer: Peer, frames: int, seed: int) -> float:
    rate = peer.rate("pendulum", seed, frames, library="sbx")
    bench.say(f"{SBX}: {rate:,.0f} frames/s")
    return rate


def _best_threads(bench: Bench) -> int:
    """Return the number of threads with which SB3's SAC is fastest; measured briefly where it has not been."""
    if bench.peer is None:
        return 1
    if not bench.sac_rates:
        for threads in thread_counts():
            _sb3_rate(bench, bench.peer, threads, THREADS_FRAMES, seed=1)
    return max(bench.sac_rates, key=lambda threads: median(bench.sac_rates[threads]))


def _evaluation_interval(bench: Bench) -> int:
    """Return the frames between the evaluations of `runs/pendulum.toml`."""
    from rl2cli.spec import load_spec

    every = load_spec(bench.specs / "pendulum.toml").spec.evaluation.every
    assert every is not None  # a loaded spec has the defaults that follow from other settings
    return every
