import dataclasses
import json

import pytest
from sample_run import EVALUATION, SUMMARY, Clock

from rl2cli.reporting.progress import Pace, eta_seconds


def test_eta_from_the_start() -> None:
    assert eta_seconds(frames=200, total_frames=1_000, start_frames=0, wall_seconds=2.0) == 8.0


def test_eta_after_a_resume_counts_only_this_sessions_frames() -> None:
    # 100 of this session's frames in 2 s; 200 are left: 4 s, not the 0.44 s of (200 / (900 / 2)).
    assert eta_seconds(frames=800, total_frames=1_000, start_frames=700, wall_seconds=2.0) == 4.0


@pytest.mark.parametrize(
    ("frames", "wall_seconds", "expected"), [(700, 0.0, None), (700, 3.0, None), (1_000, 3.0, 0.0), (1_200, 3.0, 0.0)]
)
def test_eta_at_the_edges(frames: int, wall_seconds: float, expected: float | None) -> None:
    assert eta_seconds(frames, total_frames=1_000, start_frames=700, wall_seconds=wall_seconds) == expected


def test_pace_measures_now_and_mean_of_a_resumed_session(clock: Clock) -> None:
    pace = Pace(start_frames=1_000, total_frames=2_000, clock=clock)
    clock.now += 1
    assert pace.measure(1_100).mean == 100
    clock.now += 1
    rates = pace.measure(1_400)
    assert (rates.wall_seconds, rates.now, rates.mean, rates.eta_seconds) == (2, 300, 200, 3)


def test_pace_without_time_passing(clock: Clock) -> None:
    rates = Pace(0, 10, clock=clock).measure(5)
    assert (rates.now, rates.mean, rates.eta_seconds) == (0, 0, None)


def test_summary_json_has_the_promised_keys() -> None:
    found = SUMMARY.to_json()
    assert {"run_dir", "status", "frames", "wall_seconds", "frames_per_second", "evaluation", "best"} <= found.keys()
    for key in ("evaluation", "best"):
        part = found[key]
        assert isinstance(part, dict)
        assert {"mean_return", "std_return", "episodes", "frames"} <= part.keys()
        assert part.get("checkpoint") == (SUMMARY.best_checkpoint if key == "best" else None)


def test_summary_json_is_json_even_with_numbers_that_are_not_finite() -> None:
    evaluation = dataclasses.replace(EVALUATION, mean_return=float("nan"), interval=float("inf"))
    summary = dataclasses.replace(SUMMARY, evaluation=evaluation, best=None)
    found = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert found["evaluation"]["mean_return"] is None
    assert found["evaluation"]["interval"] is None
    assert found["best"] is None
