"""Interquartile mean and bootstrap interval, against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rl2cli.reporting.statistics import bootstrap_interval, interquartile_mean


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 2.0, 6.0], 3.0),  # a quarter of three, rounded down, is none
        ([0.0, 1.0, 3.0, 100.0], 2.0),  # (1 + 3) / 2
        ([100.0, 4.0, -50.0, 1.0, 4.0], 3.0),  # (1 + 4 + 4) / 3
        ([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 4.5),  # (3 + 4 + 5 + 6) / 4
    ],
)
def test_interquartile_mean(values: list[float], expected: float) -> None:
    assert interquartile_mean(np.array(values)) == pytest.approx(expected)


def test_interquartile_mean_is_of_each_point_of_a_curve() -> None:
    curves = np.array([[0.0, 9.0], [1.0, 1.0], [3.0, 3.0], [100.0, -5.0]])
    assert interquartile_mean(curves).tolist() == [2.0, 2.0]


def test_interval_of_two_seeds_is_their_range() -> None:
    # of two values both draws are the first in a quarter of the cases: the 2.5 % quantile is the lower value
    low, high = bootstrap_interval(np.array([1.0, 5.0]))
    assert (float(low), float(high)) == (1.0, 5.0)


def test_interval_of_three_seeds() -> None:
    # means of three draws from {0, 3, 6}: 0 in 1 of 27 cases, 3.7 %, so 2.5 % lies in it; the upper end is the mirror
    low, high = bootstrap_interval(np.array([0.0, 3.0, 6.0]), resamples=20_000)
    assert (float(low), float(high)) == (0.0, 6.0)
    low, high = bootstrap_interval(np.array([0.0, 3.0, 6.0]), resamples=20_000, confidence=0.9)
    assert (float(low), float(high)) == (1.0, 5.0)  # {0, 0, 3} in 3 of 27 cases: from 3.7 % to 14.8 %


def test_interval_is_the_same_every_time_and_holds_the_mean() -> None:
    values = np.random.default_rng(3).normal(size=(10, 4))
    low, high = bootstrap_interval(values)
    again = bootstrap_interval(values)
    assert np.array_equal(low, again[0])
    assert np.array_equal(high, again[1])
    mean = interquartile_mean(values)
    assert np.all(low < mean)
    assert np.all(mean < high)


def test_steps_of_drawing_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).normal(size=(5, 3))
    whole = bootstrap_interval(values)
    monkeypatch.setattr("rl2cli.reporting.statistics._AT_ONCE", 100)
    assert np.array_equal(bootstrap_interval(values), whole)
