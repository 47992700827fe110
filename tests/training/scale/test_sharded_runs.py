"""A sharded run is the same whoever steps its shards, and whatever happens to them."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import sharded_runs
import small_runs
from faulty_engine import FAULTS, FakeEngine
from gymnasium import spaces
from sharded_runs import ALGORITHMS, different
from small_runs import checkpoints, newest, rows, train

from rl2cli.reporting.view import make_view
from rl2cli.training.scale.sharding import Sharding
from rl2cli.training.session import resume


def slow(algorithm: str) -> Any:
    """Take `algorithm` in the slow tests alone."""
    return pytest.param(algorithm, marks=pytest.mark.slow)


class Unsteady(gymnasium.Env[Any, Any]):
    """Its seed does not decide what it shows."""

    observation_space = spaces.Box(0.0, np.inf, (1,), np.float32)
    action_space = spaces.Discrete(2)
    shown = itertools.count()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.array([next(self.shown)], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.array([next(self.shown)], np.float32), 1.0, next(self.shown) % 9 == 0, False, {}


gymnasium.register("Unsteady-v0", Unsteady)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[FakeEngine]:
    """Have workers that fail step every run; the engines are listed."""
    made: list[FakeEngine] = []

    def start(self: Sharding, announce: Any) -> None:
        made.append(FakeEngine(self.spec, self.layout, seed=len(made)))
        self.engine = made[-1]  # type: ignore[assignment]

    monkeypatch.setattr(Sharding, "start", start)
    return made


def test_one_shard_of_all_environments_is_the_run_without_shards(tmp_path: Path) -> None:
    sharded = sharded_runs.spec(scale={"envs_per_worker": 8, "gradient_shards": 1})
    plain = {key: value for key, value in sharded.items() if key != "scale"}
    one, other = train(tmp_path, plain, "plain"), train(tmp_path, sharded, "sharded")
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    states = [{**newest(run).state, "collector": None} for run in (one, other)]
    assert list(small_runs.differences(*states)) == []


@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize("algorithm", [each if each in ("ppo", "dqn") else slow(each) for each in ALGORITHMS])
def test_a_run_does_not_depend_on_its_workers(
    tmp_path: Path, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch, algorithm: str, lag: int
) -> None:
    settings = sharded_runs.spec(algorithm, scale={"lag": lag})
    failing = [train(tmp_path, settings, f"failing {number}") for number in range(5)]
    monkeypatch.undo()
    local = train(tmp_path, settings, "local")
    assert [different(local, run) for run in failing] == [[]] * 5
    happened = sum((engine.happened for engine in engines), Counter())
    assert sum(happened[fault] for fault in FAULTS) > 3
    assert happened["live"] > 4
    assert happened["with a state"] > 2 * 4 + 2, "no shard was moved"


def test_a_shard_of_single_environments_moves_too(
    tmp_path: Path, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = sharded_runs.spec(env={"vectorization": "single"})
    failing = train(tmp_path, settings, "failing")
    monkeypatch.undo()
    assert different(train(tmp_path, settings, "local"), failing) == []
    assert engines[0].happened["with a state"] > 4


def test_lag_changes_what_is_learned(tmp_path: Path) -> None:
    runs = [train(tmp_path, sharded_runs.spec(scale={"lag": lag}), str(lag)) for lag in (0, 1)]
    assert different(*runs)


@pytest.mark.parametrize("lag", [0, 1, 3])
@pytest.mark.parametrize("algorithm", ["ppo", slow("sac with coloured noise"), "dqn"])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, algorithm: str, lag: int) -> None:
    settings = sharded_runs.spec(algorithm, scale={"lag": lag}, checkpoint={"every": 64, "keep": 9})
    run = train(tmp_path, settings)
    saved = checkpoints(run)
    copy = tmp_path / "killed"
    shutil.copytree(run, copy)
    for later in saved[len(saved) // 2 :]:
        shutil.rmtree(copy / "checkpoints" / f"{later:015}")
    resume(str(copy), view=make_view("quiet"))
    assert different(run, copy) == []


def test_what_cannot_be_restored_begins_anew_and_the_run_says_so(tmp_path: Path, engines: list[FakeEngine]) -> None:
    del engines
    settings = sharded_runs.spec(env={"id": "Unsteady-v0", "vectorization": "single"}, total_frames=512)
    run = train(tmp_path, settings)
    assert newest(run).state["inexact"]
    assert any(row["event"] == "worker lost" for row in rows(run / "timings.jsonl"))
