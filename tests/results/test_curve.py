"""Curves: ordered, thinned without losing a peak."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from rl2cli.results.curve import Curve, curve, thinned


def test_points_come_in_order_and_the_last_of_the_same_x_counts() -> None:
    found = curve([(2, 1.0), (1, 5.0), (2, 3.0), (math.inf, 1.0)])
    assert found == Curve((1.0, 2.0), (5.0, 3.0))


def test_what_is_not_finite_is_a_gap() -> None:
    found = curve([(1, 1.0), (2, -math.inf), (3, 2.0)])
    assert math.isnan(found.y[1])
    assert found.finite() == Curve((1.0, 3.0), (1.0, 2.0))


def test_short_curves_stay_as_they_are() -> None:
    full = curve((x, x) for x in range(1000))
    assert thinned(full) is full


def test_a_single_peak_survives() -> None:
    full = curve((x, 1e6 if x == 54_321 else -7.0 if x == 98_765 else 0.0) for x in range(100_000))
    short = thinned(full)
    assert len(short) <= 1000
    assert (max(short.y), min(short.y)) == (1e6, -7.0)
    assert (short.x[0], short.x[-1]) == (0.0, 99_999.0)


@given(st.lists(st.floats(allow_infinity=False), min_size=11, max_size=200))
def test_extremes_and_order_survive(values: list[float]) -> None:
    full = curve(enumerate(values))
    short = thinned(full, 10)
    assert len(short) <= 10
    assert list(short.x) == sorted(short.x)
    inner = [value for value in values[1:-1] if not math.isnan(value)]
    if inner:
        assert {max(inner), min(inner)} <= set(short.y)
