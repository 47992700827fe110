"""How long a save keeps training waiting: `python tests/benchmarks/test_saves.py`, or `pytest -m benchmark` on it.

PPO: under 50 ms for each save of CartPole's shipped spec. SAC: the saves of a run whose replay buffer holds a million
rows, against the time that SAC takes to train the frames between two of them; under 2 %. Processor time of the training
thread stands beside the time on the clock, which on a busy machine measures the others.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import rl2cli
from rl2cli.spec import load_spec, shipped_folder, spec_to_dict
from rl2cli.training.trainer import Trainer

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
ROWS = 1_000_000
SAVES = 10
"""In a run, by default."""


class Cost(NamedTuple):
    """What one save took of training."""

    frames: int
    seconds: float
    processor_seconds: float


class Learned(NamedTuple):
    """What the learning between two saves took."""

    frames: int
    seconds: float


@contextmanager
def measured() -> Iterator[tuple[list[Cost], list[Learned]]]:
    """Measure every save and every learning in the block."""
    costs: list[Cost] = []
    learned: list[Learned] = []
    save, learn = Trainer.save, Trainer.learn

    def timed_save(self: Trainer, **named: Any) -> None:
        began, processor = time.perf_counter(), time.thread_time()
        save(self, **named)
        costs.append(Cost(self.frames, time.perf_counter() - began, time.thread_time() - processor))

    def timed_learn(self: Trainer, trajectories: Any) -> None:
        before, began = self.frames, time.perf_counter()
        learn(self, trajectories)
        learned.append(Learned(self.frames - before, time.perf_counter() - began))

    Trainer.save, Trainer.learn = timed_save, timed_learn  # type: ignore[method-assign]
    try:
        yield costs, learned
    finally:
        Trainer.save, Trainer.learn = save, learn  # type: ignore[method-assign]


def ppo(folder: Path) -> list[Cost]:
    """Return the saves of a run of CartPole as it is shipped."""
    spec = spec_to_dict(load_spec(str(shipped_folder() / "cartpole.toml")).spec)
    with measured() as (costs, _):
        rl2cli.train({**spec, "total_frames": 200_000, "checkpoint": {"every": 20_000}}, run_dir=folder)
    return costs


def sac(folder: Path, rows: int = ROWS) -> tuple[list[Cost], float]:
    """Return the saves of a run with a full replay buffer, and the seconds that SAC learns between two of them."""
    learning = 2_000
    spec = {
        "total_frames": rows + learning,
        "env": {"id": "CartPole-v1", "num_envs": 100, "workers": 0},
        "algorithm": {"name": "sac", "buffer_size": rows, "learning_starts": rows, "batch_size": 256},
        "evaluation": {"every": rows + learning, "episodes": 1, "stochastic_episodes": 0},
        "checkpoint": {"every": rows // SAVES},
        "device": "cpu",
    }
    with measured() as (costs, learned):
        rl2cli.train(spec, run_dir=folder)
    of_learning = [one for one in learned if one.frames and one.seconds > 5 * learned[0].seconds][-10:]
    rate = sum(one.frames for one in of_learning) / sum(one.seconds for one in of_learning)
    return costs, rows / SAVES / rate


def test_a_save_of_ppo_blocks_for_less_than_50_ms(tmp_path: Path) -> None:
    costs = ppo(tmp_path / "run")
    assert statistics.median(cost.seconds for cost in costs) < 0.05


def test_saves_of_sac_with_a_million_rows_take_less_than_2_percent(tmp_path: Path) -> None:
    costs, between = sac(tmp_path / "run")
    assert statistics.fmean(cost.seconds for cost in costs[1:]) / between < 0.02


def main() -> int:
    """Measure both and print what they took."""
    with tempfile.TemporaryDirectory() as root:
        for name, costs, between in (("ppo", ppo(Path(root, "ppo")), 0.0), ("sac", *sac(Path(root, "sac")))):
            clock, processor = [one.seconds for one in costs], [one.processor_seconds for one in costs]
            print(f"{name}: {len(costs)} saves, median {1e3 * statistics.median(clock):.1f} ms on the clock,", end=" ")
            print(f"{1e3 * statistics.median(processor):.1f} ms of the processor;", end=" ")
            print(f"at most {1e3 * max(clock):.1f} ms and {1e3 * max(processor):.1f} ms")
            if between:
                share = statistics.fmean(clock) / between, statistics.fmean(processor) / between
                print(f"{name}: {between:.0f} s of learning between two saves: {share[0]:.2%} and {share[1]:.2%} of it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
