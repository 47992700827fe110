"""The rows of SAC without a real measurement: which sides are compared, over what, and that settings are equal."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import pytest
from fake_runs import ONE, TWO, peer_script, run_of

from rl2cli.benchmarks import own, peer, sac_rows
from rl2cli.benchmarks.bench import EVALUATION_EPISODES, Bench
from rl2cli.benchmarks.comparison import OURS, Comparison
from rl2cli.benchmarks.own import Evaluated
from rl2cli.benchmarks.peer import Peer, Scored, Solved
from rl2cli.benchmarks.processes import Ended, MeasurementError
from rl2cli.benchmarks.rows import measure
from rl2cli.spec import load_spec, shipped_folder

WITH_SBX = Peer("python", {"stable-baselines3": "2.9.2", "sbx-rl": "0.28.0"})
WITHOUT_SBX = Peer("python", {"stable-baselines3": "2.9.2"})
SPEC = 'total_frames = {frames}\n\n[env]\nid = "Pendulum-v1"\n\n[evaluation]\nevery = 500\n'


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    for name in ("pendulum", "halfcheetah"):
        (tmp_path / f"{name}.toml").write_text(SPEC.format(frames=1_000_000), encoding="utf-8")
    monkeypatch.setattr(sac_rows, "thread_counts", lambda: [1, 2])
    rates = {("stable_baselines3", 1): 80.0, ("stable_baselines3", 2): 100.0, ("sbx", 1): 250.0}

    def rate(
        self: Peer, task: str, seed: int, frames: int, library: str = "stable_baselines3", threads: int = 1
    ) -> float:
        assert task == "pendulum"
        return rates[library, threads]

    monkeypatch.setattr(Peer, "rate", rate)
    return Bench(tmp_path, WITH_SBX, lambda line: None, repeats=2)


def lines(bench: Bench, name: str) -> dict[str, Comparison]:
    return {comparison.name: comparison for comparison in measure(bench, name)}


def test_speed_is_compared_with_the_best_number_of_threads_and_with_sbx(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(own, "train", lambda spec, *arguments, seed: calls.append(arguments) or run_of())
    found = lines(bench, "sac-pendulum")
    assert dict(found["sac-pendulum"].samples) == {OURS: [300.0] * 2, ONE: [80.0] * 2, TWO: [100.0] * 2}
    assert (found["sac-pendulum"].ratio, found["sac-pendulum"].verdict) == (3.0, "must met")
    assert dict(found["sac-pendulum, sbx"].samples) == {OURS: [300.0] * 2, "sbx": [250.0] * 2}
    assert found["sac-pendulum, sbx"].verdict == "aim met"
    assert calls[0] == ("--frames=5000", "--set=evaluation.target_return=1000000000.0", "--set=evaluation.every=5000")
    assert sac_rows._best_threads(bench) == 2


def test_without_sbx_its_line_is_not_compared(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "train", lambda spec, *arguments, seed: run_of())
    said: list[str] = []
    bench.peer, bench.say = WITHOUT_SBX, said.append
    found = lines(bench, "sac-pendulum")
    assert [line.verdict for line in found.values()] == ["must met", "not compared"]
    assert any("pip install sbx-rl" in line for line in said)
    bench.peer = None
    assert {line.verdict for line in lines(bench, "sac-pendulum").values()} == {"not compared"}
    assert sac_rows._best_threads(bench) == 1


def test_time_and_frames_to_the_target(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "train", lambda spec, *arguments, seed: run_of((5.0, 1500, -210.0), (8.0, 2000, -199.0)))
    calls: list[tuple[int, int]] = []

    def solve(self: Peer, task: str, seed: int, check_every: int, threads: int) -> Solved:
        calls.append((check_every, threads))
        return Solved(40.0, 2_500.0, {"s evaluating": 1.0}) if seed == 1 else Solved(math.inf, math.inf, {})

    monkeypatch.setattr(Peer, "solve", solve)
    bench.repeats = 1
    seconds, frames = lines(bench, "sac-pendulum-solve").values()
    assert calls == [(500, 2)]  # the interval of the spec, and the better number of threads, measured for this
    assert dict(seconds.samples) == {OURS: [8.0], TWO: [40.0]}
    assert (seconds.ratio, seconds.verdict) == (0.2, "aim met")
    assert (frames.unit, frames.ratio, frames.verdict) == ("frames", 0.8, "must met")
    assert seconds.details[f"{TWO}: s evaluating"] == [1.0]


def test_return_of_halfcheetah_after_its_frames_and_in_the_peers_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []
    run = run_of((300.0, 80_000, 3_000.0), (400.0, 100_000, 3_600.0), (800.0, 200_000, 6_000.0), (1200.0, 300_000, 9e3))
    monkeypatch.setattr(own, "train", lambda spec, *arguments, seed, limit: calls.append(arguments) or run)
    monkeypatch.setattr(Peer, "score", lambda self, task, seed, frames, threads, limit: Scored(1000.0, 3_000.0))
    whole, in_time = lines(bench, "sac-halfcheetah").values()
    assert dict(whole.samples) == {OURS: [3_600.0] * 2, TWO: [3_000.0] * 2}
    assert (whole.ratio, whole.verdict, whole.unit) == (1.2, "aim met", "return")
    assert dict(whole.details) == {f"{OURS}: s until then": [400.0] * 2, f"{TWO}: s until then": [1000.0] * 2}
    assert (in_time.ratio, in_time.verdict) == (2.0, "aim met")
    assert dict(in_time.details) == {f"{OURS}: frames until then": [200_000.0] * 2}
    assert calls[0][0] == "--frames=300000"
    assert "--set=evaluation.every=20000" in calls[0]
    bench.peer = None
    assert [line.verdict for line in lines(bench, "sac-halfcheetah").values()] == ["not compared"] * 2


def test_evaluations_of_a_run() -> None:
    run = run_of((5.0, 1500, -210.0), (8.0, 2000, -199.0))
    assert run.evaluated_at(1600) == run.evaluated_within(9.0) == Evaluated(8.0, 2000, -199.0, 20)
    assert run.evaluated_within(7.9).frames == 1500
    with pytest.raises(MeasurementError, match="2,001 frames"):
        run.evaluated_at(2001)
    with pytest.raises(MeasurementError, match="within 4 s"):
        run.evaluated_within(4.0)


def test_a_peer_that_never_got_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"solved_time": None, "frames": 19_500, "imported_time": 103.0, "build_seconds": 1.0}
    found["evaluation_seconds"] = 2.0
    calls: list[tuple[str, dict[str, object]]] = []

    def call(python: str, what: str, options: dict[str, object]) -> tuple[Ended, dict[str, object]]:
        calls.append((what, options))
        return Ended(100.0, 9.0, "", None, None), found

    monkeypatch.setattr(peer, "_call", call)
    solved = WITH_SBX.solve("pendulum", 1, check_every=500, threads=2)
    assert (solved.seconds, solved.frames) == (math.inf, math.inf)
    assert solved.details["s to imports done"] == 3.0
    assert calls == [("solve", {"task": "pendulum", "seed": 1, "check-every": 500, "threads": 2})]
    assert (WITH_SBX.has_sbx, WITHOUT_SBX.has_sbx) == (True, False)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return peer_script(monkeypatch)


def test_the_peers_tasks_are_those_of_the_shipped_specs(script: ModuleType) -> None:
    assert {task: script.TASKS[task].environment for task in ("pendulum", "halfcheetah")} == {
        "pendulum": "Pendulum-v1",
        "halfcheetah": "HalfCheetah-v5",
    }
    assert script.TASKS["pendulum"].target_return == sac_rows.TARGET_RETURN


def test_pendulum_is_trained_at_the_same_settings_on_all_sides(script: ModuleType) -> None:
    shipped = load_spec(shipped_folder() / "pendulum.toml").spec
    task = script.TASKS["pendulum"]
    algorithm, network = shipped.algorithm.options, shipped.network.options
    same = ("learning_rate", "learning_starts", "batch_size", "gamma", "tau")
    assert {name: getattr(algorithm, name) for name in same} == {name: task.arguments[name] for name in same}
    assert (algorithm.updates_per_frame, algorithm.rollout_length, shipped.env.num_envs) == (1.0, 1, 1)
    assert network.hidden_sizes == task.arguments["policy_kwargs"]["net_arch"]
    assert (network.activation, network.layer_norm) == ("relu", False)  # the default of SB3 and sbx
    assert shipped.evaluation.episodes >= EVALUATION_EPISODES


def test_checks_come_after_the_update_past_each_interval(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    returns = iter([-1000.0, -150.0])
    monkeypatch.setattr(script, "evaluate_policy", lambda agent, environments, n_eval_episodes: (next(returns), 0.0))
    agent = MagicMock(num_timesteps=0, n_envs=1)
    check = script.Check(agent, MagicMock(), -200.0, 500)
    went_on = []
    for frames in range(1, 1_002):
        agent.num_timesteps = frames
        went_on.append(check({}, {}))
    assert [row["frames"] for row in check.evaluations] == [500, 1000]
    assert went_on == [True] * 1000 + [False]
    agent.num_timesteps = 2_002
    assert check({"n_steps": 3}, {})  # PPO within a rollout
