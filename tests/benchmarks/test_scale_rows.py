"""`rl2 bench scale` without a run, its environment, and, as slow tests, small runs and measurements."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rl2cli.benchmarks import scale_rows
from rl2cli.benchmarks.bench import Bench
from rl2cli.benchmarks.comparison import OURS
from rl2cli.benchmarks.rows import ROWS, measure
from rl2cli.benchmarks.scale_costs import Costs
from rl2cli.benchmarks.scale_model import simulate
from rl2cli.benchmarks.scale_runs import WAITING, Pace, Workload, pace_of
from rl2cli.benchmarks.waiting import WaitingAdapter, register
from rl2cli.envs import make_env_adapter
from rl2cli.envs.checker import check_adapter
from rl2cli.registry import adapters
from rl2cli.spec import load_spec_dict
from rl2cli.training.scale.assignment import assignment_of

COSTS = Costs(step_seconds=0.005, learn_seconds=1e-5, answer_seconds=1e-3)
SMALL = Workload({"backend": WAITING, "step_seconds": 0.001}, shards=2, rollout_length=8)


def _bench(said: list[str]) -> Bench:
    return Bench(Path("runs"), None, said.append, repeats=1)


@pytest.mark.parametrize(("off", "verdict"), [(1.05, "aim met"), (0.85, "must met"), (1.3, "missed")])
def test_the_model_is_held_against_real_runs(monkeypatch: pytest.MonkeyPatch, off: float, verdict: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(scale_rows, "measured_costs", lambda workload, with_ray: COSTS)

    def pace(workload: Workload, engine: str, iterations: int, workers: int) -> Pace:
        forecast = simulate(COSTS, scale_rows.size_of(workload, workers), 5)
        return Pace(forecast.frames_per_second / off, 1.0, [])

    monkeypatch.setattr(scale_rows, "pace_of", pace)
    found = measure(_bench([]), "scale")
    assert [each.name for each in found] == ["scale, 1 worker", "scale, 2 workers", "scale, 4 workers"]
    assert [each.verdict for each in found] == [verdict] * 3
    assert found[0].samples[OURS] == [pytest.approx(100 * abs(off - 1))]
    assert found[0].details["step_seconds"] == [0.005]


def test_without_ray_the_model_speaks_alone_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    asked: list[bool] = []

    def costs(workload: Workload, with_ray: bool) -> Costs:
        asked.append(with_ray)
        return replace(COSTS, answer_seconds=0.0)

    monkeypatch.setattr(scale_rows, "measured_costs", costs)
    said: list[str] = []
    found = measure(_bench(said), "scale")
    assert ([each.verdict for each in found], asked) == (["not compared"] * 3, [False])
    assert "Ray is not installed" in said[0]
    expected = 256 / (8 / 2 * 32 * 0.005 + 256 * 1e-5)  # two workers share eight tasks, then the learner learns
    assert found[1].details["frames/s, expected"] == [pytest.approx(expected)]


def test_ray_is_held_to_the_issue() -> None:
    assert (ROWS["scale"].bar.must, ROWS["scale"].bar.aim) == (20.0, 10.0)


def _adapter(**options: float | bool) -> WaitingAdapter:
    adapter = WaitingAdapter(WaitingAdapter.Options.model_validate({"episode_steps": 5, **options}))
    adapter.setup()
    adapter.reset(1)
    return adapter


@pytest.fixture
def _registered() -> Iterator[None]:
    register()
    yield
    adapters.unregister(WAITING)


@pytest.mark.usefixtures("_registered")
def test_the_environment_keeps_the_contract() -> None:
    quick = Workload({"backend": WAITING, "step_seconds": 0.0, "episode_steps": 5})
    adapter = make_env_adapter(load_spec_dict(quick.spec("local", 1)).spec.env, workers=0)
    assert check_adapter(adapter, steps=20) == []


@pytest.mark.usefixtures("_registered")
def test_workers_are_told_of_the_environment() -> None:
    (plugin,) = assignment_of(load_spec_dict(SMALL.spec("local", 1)).spec).plugins
    assert (plugin.kind, plugin.name, plugin.target) == ("adapter", WAITING, "rl2cli.benchmarks.waiting:WaitingAdapter")


def test_a_step_takes_as_long_as_it_was_told_and_a_busy_one_takes_a_core() -> None:
    for busy in (False, True):
        adapter = _adapter(step_seconds=0.02, busy=busy)
        before, processor = time.perf_counter(), time.thread_time()
        adapter.step(0)
        assert time.perf_counter() - before >= 0.02
        assert (time.thread_time() - processor >= 0.02) == busy


@pytest.mark.slow
def test_a_run_says_how_long_its_iterations_take() -> None:
    pace = pace_of(SMALL, "local", 3)
    assert len(pace.iteration_seconds) == 3
    assert min(pace.iteration_seconds) >= 16 * 0.001
    assert 0 < pace.frames_per_second <= 1000
    assert pace.start_seconds > 0


@pytest.mark.slow
@pytest.mark.parametrize("with_ray", [False, True])
def test_costs_are_measured(with_ray: bool) -> None:
    if with_ray:
        pytest.importorskip("ray")
    found = scale_rows.measured_costs(SMALL, with_ray=with_ray)
    assert found.step_seconds >= 0.001
    assert found.frame_bytes >= 16 * 4  # an observation of 16 numbers
    assert found.weight_bytes > 64 * 64 * 4
    assert min(found.act_seconds, found.task_seconds, found.learn_seconds) > 0
    assert (found.submit_seconds > 0) == (found.answer_seconds > 0) == with_ray
