from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from rl2cli.algorithms.schedules import Schedule, value_at


@pytest.mark.parametrize(
    ("shape", "quarter", "half", "end"),
    [
        ("linear", 3.25, 2.5, 1.0),  # 4 - 3 / 4, 4 - 3 / 2
        ("cosine", 1.0 + 3.0 * (1.0 + math.sqrt(0.5)) / 2.0, 2.5, 1.0),
        ("exponential", 4.0 * 0.25**0.25, 2.0, 1.0),
    ],
)
def test_shapes_by_hand(shape, quarter, half, end) -> None:
    schedule = Schedule(start=4.0, end=1.0, shape=shape)
    values = [value_at(schedule, frames, 1000) for frames in (0, 250, 500, 1000, 2000)]
    assert values == pytest.approx([4.0, quarter, half, end, end])


def test_its_own_frames_win_over_the_runs() -> None:
    schedule = Schedule(start=1.0, end=0.0, frames=100)
    assert value_at(schedule, 50, 1_000_000) == 0.5
    assert value_at(schedule, 100, 1_000_000) == 0.0


def test_a_number_stays() -> None:
    assert value_at(0.3, 0, 10) == value_at(0.3, 10, 10) == 0.3


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.0, 0.0)])
def test_an_exponential_cannot_touch_zero(start: float, end: float) -> None:
    with pytest.raises(ValidationError, match="exponential"):
        Schedule(start=start, end=end, shape="exponential")


@pytest.mark.parametrize(("start", "end"), [(-0.1, 1.0), (1.0, -0.1)])
def test_no_setting_that_has_schedules_is_negative(start: float, end: float) -> None:
    with pytest.raises(ValidationError):
        Schedule(start=start, end=end)
