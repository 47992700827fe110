"""What the clock said, resumes and clocks that were set back included."""

from __future__ import annotations

import pytest

from rl2cli.results.timeline import read_timeline


def test_time_between_records_is_in_proportion() -> None:
    timeline = read_timeline(
        [
            {"event": "start", "time": 100.0, "frames": 0},
            {"event": "checkpoint", "time": 110.0, "frames": 1000},
        ]
    )
    assert (timeline.seconds_at(0), timeline.seconds_at(500), timeline.seconds_at(1000)) == (0.0, 5.0, 10.0)
    assert timeline.seconds_at(1001) is None
    assert timeline.total_seconds == 10.0


def test_a_resumed_run_goes_on_where_its_checkpoint_was() -> None:
    timeline = read_timeline(
        [
            {"event": "start", "time": 100.0, "frames": 0},
            {"event": "checkpoint", "time": 110.0, "frames": 1000},
            {"event": "speed", "time": 118.0, "frames": 1800, "frames_per_second": 100.0},  # lost with the process
            {"event": "resume", "time": 9000.0, "frames": 1000},
            {"event": "end", "time": 9020.0, "frames": 2000},
        ]
    )
    assert timeline.seconds_at(1000) == 10.0
    assert timeline.total_seconds == 30.0
    assert timeline.speeds == []
    assert [event["event"] for event in timeline.events] == ["start", "resume", "end"]


def test_shares_are_weighed_by_the_time_they_are_of() -> None:
    speed = {"event": "speed", "policy": 0.0, "other": 0.0}
    timeline = read_timeline(
        [
            {"event": "start", "time": 0.0, "frames": 0},
            {**speed, "time": 10.0, "frames": 10, "environment": 1.0, "learning": 0.0},
            {**speed, "time": 40.0, "frames": 20, "environment": 0.0, "learning": 1.0},
        ]
    )
    assert timeline.shares == pytest.approx({"environment": 0.25, "policy": 0.0, "learning": 0.75, "other": 0.0})


def test_nonsense_is_left_out() -> None:
    timeline = read_timeline(
        [
            {"event": 3, "time": 0.0, "frames": 0},
            {"event": "start", "time": "soon", "frames": 0},
            {"event": "start", "time": 50.0, "frames": 0},
            {"event": "speed", "time": 60.0, "frames": 100, "frames_per_second": "inf", "environment": 7.0},
            {"event": "checkpoint", "time": 20.0, "frames": 200},
        ]
    )
    assert (timeline.frames, timeline.seconds) == ([0.0, 100.0], [0.0, 10.0])
    assert (timeline.speeds, timeline.shares) == ([], {})
