"""The simulated pipeline, where what comes out can be worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest

from rl2cli.benchmarks.scale_costs import Costs, Size
from rl2cli.benchmarks.scale_model import seconds_lost, simulate

ALL = Costs(
    step_seconds=0.01,
    act_seconds=0.002,
    task_seconds=0.05,
    learn_seconds=0.001,
    publish_seconds=0.003,
    submit_seconds=0.004,
    answer_seconds=0.005,
    trip_seconds=0.02,
)
TASK = 10 * (2 * 0.01 + 0.002) + 0.05
"""Seconds of a task of `ALL` with 10 steps of 2 environments."""
STEPS = Costs(step_seconds=0.01)


def _size(workers: int = 1, **more: int | float) -> Size:
    return dataclasses.replace(Size(workers, rollout_length=10), **more)


@pytest.mark.parametrize("shards", [1, 3])
def test_one_worker_takes_the_sum_of_everything(shards: int) -> None:
    found = simulate(ALL, _size(shards_per_worker=shards, envs_per_shard=2), 5)
    # tasks are submitted, and answers taken in, while the worker steps; but for the first and the last
    expected = 0.003 + 0.004 + 0.02 + shards * TASK + 0.005 + 0.001 * 20 * shards
    assert found.iteration_seconds == pytest.approx(expected)
    assert found.frames_per_second == pytest.approx(20 * shards / expected)
    assert found.busy["workers"] == pytest.approx(shards * TASK / expected)
    assert found.busy["learning"] == pytest.approx(0.02 * shards / expected)
    assert found.busy["tasks"] == pytest.approx((0.003 + 0.009 * shards) / expected)


@pytest.mark.parametrize("workers", [2, 4, 100])
def test_workers_add_up_where_nothing_but_steps_takes_time(workers: int) -> None:
    found = simulate(STEPS, _size(workers), 5)
    assert found.frames_per_second == pytest.approx(workers * 100)
    assert found.bottleneck == ("workers", pytest.approx(1.0))


def test_shards_that_cannot_be_shared_evenly_are_waited_for() -> None:
    size = _size(2, shards_per_worker=2, lag=0)
    assert simulate(STEPS, size, 5).iteration_seconds == pytest.approx(0.2)
    uneven = dataclasses.replace(size, workers=3, workers_per_host=1, replace_seconds=1e9)
    # of three workers with two shards each one is lost for good: the others have three each
    after = simulate(STEPS, uneven, 10, failures=[(0.0, 2)])
    assert after.iteration_seconds > 0.3 - 1e-9


def test_the_learner_is_the_bottleneck_where_it_takes_longest() -> None:
    costs = dataclasses.replace(STEPS, learn_seconds=0.02)
    found = simulate(costs, _size(4, lag=1), 5)
    assert found.frames_per_second == pytest.approx(50)
    assert found.bottleneck == ("learner", pytest.approx(1.0))
    assert found.busy["learning"] == pytest.approx(1.0)


@pytest.mark.parametrize(("lag", "expected"), [(0, 0.1 + 0.08), (1, 0.1), (3, 0.1)])
def test_a_lag_has_the_learner_learn_while_the_workers_step(lag: int, expected: float) -> None:
    costs = dataclasses.replace(STEPS, learn_seconds=0.008)
    assert simulate(costs, _size(lag=lag), 8).iteration_seconds == pytest.approx(expected)


def test_the_network_to_the_learner_takes_one_rollout_after_the_other() -> None:
    costs = dataclasses.replace(STEPS, frame_bytes=1000.0, bytes_per_second=50_000.0)
    found = simulate(costs, _size(4, lag=1), 20)
    assert found.frames_per_second == pytest.approx(50, rel=0.01)
    assert found.bottleneck == ("network to learner", pytest.approx(1.0, rel=0.01))
    # in turns, the four rollouts come one after the other, once they are there
    assert simulate(costs, _size(4), 5).iteration_seconds == pytest.approx(0.1 + 4 * 10_000 / 50_000)


@pytest.mark.parametrize(("workers_per_host", "hosts"), [(1, 4), (2, 2), (4, 1)])
def test_weights_go_to_each_host_once(workers_per_host: int, hosts: int) -> None:
    costs = dataclasses.replace(STEPS, weight_bytes=1000.0, bytes_per_second=10_000.0)
    found = simulate(costs, _size(4, workers_per_host=workers_per_host), 5)
    assert found.iteration_seconds == pytest.approx(0.1 + hosts * 0.1)
    assert found.busy["network to workers"] == pytest.approx(hosts * 0.1 / found.iteration_seconds)


def test_tasks_cost_the_learner_time_whoever_does_them() -> None:
    costs = dataclasses.replace(STEPS, submit_seconds=0.001, answer_seconds=0.002)
    found = simulate(costs, _size(1000, lag=1), 5)
    assert found.iteration_seconds == pytest.approx(3.0, rel=0.01)
    assert found.bottleneck == ("learner", pytest.approx(1.0, rel=0.01))
    assert found.busy["tasks"] == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize(
    ("detect", "lost"),
    [
        (0.02, 0.1),  # found while the other worker steps: it does the lost task after its own
        (0.12, 0.17),  # found at 0.05 + 0.12, when the other has waited since 0.1: it begins at 0.17 and ends at 0.27
    ],
)
def test_a_lost_host_costs_what_is_done_again_and_the_time_until_it_is_missed(detect: float, lost: float) -> None:
    size = _size(2, workers_per_host=1, detect_seconds=detect, replace_seconds=0.01)
    usual = simulate(STEPS, size, 10)
    failed = simulate(STEPS, size, 10, failures=[(usual.began + 0.05, 1)])
    assert failed.lost == 1
    assert failed.seconds - usual.seconds == pytest.approx(lost)


def test_until_a_host_is_replaced_others_have_its_shards() -> None:
    size = _size(2, workers_per_host=1, detect_seconds=0.02, replace_seconds=0.3)
    usual = simulate(STEPS, size, 10)
    failed = simulate(STEPS, size, 10, failures=[(usual.began + 0.05, 1)])
    # one worker does both shards, in 0.2, twice; the other is back at 0.37 and has its shard from 0.4 on
    assert failed.seconds - usual.seconds == pytest.approx(0.2)


def test_a_moved_shard_replays_its_episodes() -> None:
    size = _size(2, workers_per_host=1, detect_seconds=0.02, replace_seconds=0.01)
    costs = dataclasses.replace(STEPS, restore_steps=7.0)
    usual = simulate(costs, size, 10)
    failed = simulate(costs, size, 10, failures=[(usual.began + 0.05, 1)])
    # to the worker that is left, and back to the one that came in its place
    assert failed.seconds - usual.seconds == pytest.approx(0.1 + 0.07 + 0.07)


def test_seconds_lost_is_the_mean_over_moments() -> None:
    size = _size(2, workers_per_host=1, detect_seconds=0.04, replace_seconds=0.01)
    # at 1/6, 3/6 and 5/6 of 0.1: twice the other worker does the task after its own, once it has waited since 0.1
    assert seconds_lost(STEPS, size, phases=3) == pytest.approx((0.1 + 0.1 + 0.1 * 5 / 6 + 0.04) / 3)


def test_hosts_fail_at_the_rate_that_was_said_as_the_seed_decides() -> None:
    size = _size(16, workers_per_host=4, detect_seconds=0.1, replace_seconds=0.2, host_failures=0.05)
    found = simulate(STEPS, size, 1000, seed=1)
    assert found == simulate(STEPS, size, 1000, seed=1)
    assert found != simulate(STEPS, size, 1000, seed=2)
    expected = 0.05 * 4 * found.seconds
    assert 0.6 * expected < found.lost / 4 < 1.5 * expected
    one = seconds_lost(STEPS, dataclasses.replace(size, host_failures=0.0))
    assert found.seconds == pytest.approx(100 + one * found.lost / 4, rel=0.1)
