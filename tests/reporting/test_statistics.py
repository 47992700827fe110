"""Statistics of returns, against numbers worked by hand."""

from __future__ import annotations

import pytest

from rl2cli.reporting.statistics import interquartile_mean


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 2.0, 6.0], 3.0),  # a quarter of three is none
        ([100.0, 1.0, 3.0, 5.0], 4.0),  # 3 and 5 are the middle half
        ([0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 99.0], 2.0),  # one of seven at each end: 0 1 2 3 4
        ([-1000.0, -50.0, 10.0, 20.0, 30.0, 40.0, 60.0, 1000.0], 25.0),
    ],
)
def test_interquartile_mean(values: list[float], expected: float) -> None:
    assert interquartile_mean(values) == expected


def test_of_nothing_there_is_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        interquartile_mean([])
