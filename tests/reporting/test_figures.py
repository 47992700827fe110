import dataclasses
import math

import pytest
from sample_run import EVALUATION

from rl2cli.reporting.figures import (
    ASCII,
    UNICODE,
    count,
    duration,
    eta,
    glyphs_for,
    mean_and_interval,
    percent,
    rate,
    significant,
    sparkline,
)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (183.24, "183.2"),
        (-20.351, "-20.35"),
        (0.0, "0"),
        (-0.012341, "-0.01234"),
        (12_345.6, "12,346"),
        (2.5e-4, "2.50e-04"),
        (3e12, "3.00e+12"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_significant(number: float, expected: str) -> None:
    assert significant(number) == expected


@pytest.mark.parametrize("number", [-1e300, -9.9999e8, -0.0010001, 1e-300, 5e-324])
def test_significant_stays_short(number: float) -> None:
    assert len(significant(number)) <= 12


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (81_234.0, "81,200"),
        (999_999.0, "1,000,000"),
        (42.34, "42.3"),
        (0.0, "0"),
        (0.25, "0.250"),
    ],
)
def test_rate(number: float, expected: str) -> None:
    assert rate(number) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (5.24, "5.2 s"), (42.4, "42 s"), (65, "1 min 05 s"), (7_400, "2 h 03 min"), (273_600, "3 d 04 h")],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_eta_is_rounded_up() -> None:
    assert eta(4.2) == "5 s"
    assert eta(math.inf) == "inf"


def test_count_and_percent() -> None:
    assert count(2**40) == "1,099,511,627,776"
    assert percent(102_400, 500_000) == "20 %"
    assert percent(999_999, 1_000_000) == "99 %"
    assert percent(29, 100) == "29 %"


def test_mean_and_interval_share_their_decimals() -> None:
    assert mean_and_interval(EVALUATION, UNICODE) == "475.0 ± 3.1"
    small = dataclasses.replace(EVALUATION, mean_return=0.02, interval=31.5)
    assert mean_and_interval(small, ASCII) == "0.02 +/- 31.50"
    unknown = dataclasses.replace(EVALUATION, interval=math.nan)
    assert mean_and_interval(unknown, UNICODE) == "475.0 ± nan"


def test_sparkline_of_few_values() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 20, UNICODE) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 20, ASCII) == "_.:-=+*#"


def test_sparkline_averages_what_shares_a_level() -> None:
    # Four buckets of two: means 0, 3.5, 3.5, 7.
    assert sparkline([0, 0, 3, 4, 4, 3, 7, 7], 4, UNICODE) == "▁▅▅█"


def test_sparkline_of_equal_and_of_strange_values() -> None:
    assert sparkline([5.0, 5.0], 8, UNICODE) == "▄▄"
    assert sparkline([0.0, math.nan, 7.0, math.inf], 8, UNICODE) == "▁█"
    assert sparkline([], 8, UNICODE) == ""
    assert sparkline([1.0], 0, UNICODE) == ""


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", UNICODE),
        ("UTF-16", UNICODE),
        ("cp1252", ASCII),
        (None, ASCII),
    ],
)
def test_glyphs_for(encoding: str | None, expected: object) -> None:
    assert glyphs_for(encoding) is expected


def test_ascii_covers_every_glyph() -> None:
    for value in dataclasses.astuple(ASCII):
        assert str(value).isascii()
    assert len(ASCII.levels) == len(UNICODE.levels)
    assert ASCII.clean("naïve\x1b") == "na?ve?"
