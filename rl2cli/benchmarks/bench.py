"""What the rows of `rl2 bench` share: what was asked for, and what has been measured already."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rl2cli.benchmarks import own
from rl2cli.benchmarks.comparison import OURS, Bar, Comparison, Unit, interleaved
from rl2cli.benchmarks.own import TrainRun
from rl2cli.benchmarks.peer import Peer, Solved

EVALUATION_EPISODES = 20
NEVER = 1e9
"""A target return that no evaluation reaches: the run goes on to its total frames."""


@dataclass
class Bench:
    """One call of `rl2 bench`."""

    specs: Path
    """Folder of the specs that come with rl2."""
    peer: Peer | None
    say: Callable[[str], None]
    """Takes a line for each measurement."""
    repeats: int | None = None
    """Measurements of each kind; each row's own number where None."""
    frames: int | None = None
    """Frames over which a speed is measured; each row's own number where None."""
    cartpole_runs: list[TrainRun] = field(default_factory=list)
    """Runs of `runs/cartpole.toml` made so far, which several rows read."""
    sac_rates: dict[int, list[float]] = field(default_factory=dict)
    """Number of threads → frames/s of SB3's SAC measured so far, from which its best number of threads follows."""

    def train(self, name: str, seed: int) -> TrainRun:
        """Run the shipped spec `name` exactly as it is."""
        run = own.train(self.specs / f"{name}.toml", seed=seed)
        self.say(f"rl2 train runs/{name}.toml --seed {seed}: {run.process.seconds:.2f} s to its exit")
        return run

    def train_cartpole(self, seed: int) -> TrainRun:
        """Run `runs/cartpole.toml` exactly as it is, and keep its record."""
        run = self.train("cartpole", seed)
        self.cartpole_runs.append(run)
        return run

    def cartpole(self, repeats: int) -> list[TrainRun]:
        """Return `repeats` runs of `runs/cartpole.toml`, those already made among them."""
        while len(self.cartpole_runs) < repeats:
            self.train_cartpole(len(self.cartpole_runs) + 1)
        return self.cartpole_runs[:repeats]


class Row(NamedTuple):
    """A name that `rl2 bench` takes."""

    what: str
    unit: Unit
    bar: Bar
    repeats: int
    measure: Callable[[Bench, Row], list[Comparison]]
    by_default: bool = True
    """Whether it is measured where no row is named."""


def thread_counts() -> list[int]:
    """Return the numbers of threads that a peer is measured with: one, and all."""
    return sorted({1, os.cpu_count() or 1})


def sb3_side(threads: int) -> str:
    """Return the name of the side that is SB3 with `threads` threads."""
    return f"SB3, {threads} thread{'s' if threads > 1 else ''}"


def solves(
    bench: Bench,
    train: Callable[[int], TrainRun],
    theirs: Mapping[str, Callable[[int], Solved]],
    target_return: float,
    repeats: int,
) -> dict[str, list[Solved]]:
    """Let rl2 and each peer in turn, seed by seed, train until an evaluation reaches `target_return`."""

    def ours(seed: int) -> Solved:
        run = train(seed)
        parts = {"s to first update": run.first_update(), "s to exit": run.process.seconds}
        if run.process.cpu_seconds is not None:
            parts["processor s to exit"] = run.process.cpu_seconds
        return Solved(*run.solved(target_return, EVALUATION_EPISODES), parts)

    def announced(side: str, solve: Callable[[int], Solved]) -> Callable[[int], Solved]:
        def measured(seed: int) -> Solved:
            solved = solve(seed)
            reached = f"after {solved.seconds:.2f} s" if math.isfinite(solved.seconds) else "never"
            bench.say(f"{side}, seed {seed}: {target_return:g} {reached}")
            return solved

        return measured

    peers = {side: announced(side, solve) for side, solve in theirs.items()}
    return interleaved({OURS: ours} | peers, repeats)


def parts_of_time(found: Mapping[str, Sequence[Solved]]) -> dict[str, list[float]]:
    """Return the details that a line shows of `found`, such as `"rl2: s to exit"`."""
    return {
        f"{side}: {part}": [solved.details[part] for solved in solved_runs]
        for side, solved_runs in found.items()
        for part in solved_runs[0].details
    }
