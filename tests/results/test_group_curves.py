"""Groups' figures and curves, and their picture."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from made_run import make_run

from rl2cli.results.comparison import GRID_POINTS, common_grid, compare, joined
from rl2cli.results.curve import Curve, curve
from rl2cli.results.drawing import draw_comparison, plain_count, short_count
from rl2cli.results.groups import grouped
from rl2cli.results.run_record import EVALUATION, RunRecord


def test_seeds_are_joined_where_all_have_data() -> None:
    found = joined([Curve((0.0, 10.0, 20.0), (0.0, 10.0, 20.0)), Curve((5.0, 15.0), (5.0, 35.0))])
    assert found.mean == Curve((5.0, 10.0, 15.0), (5.0, 15.0, 25.0))  # (10 + 20) / 2, (15 + 35) / 2
    assert found.low is not None
    assert found.high is not None
    assert (found.low.y[2], found.high.y[2]) == (15.0, 35.0)


def test_seeds_that_share_no_frames_have_no_mean() -> None:
    found = joined([Curve((0.0, 1.0), (0.0, 1.0)), Curve((5.0, 6.0), (0.0, 1.0))])
    assert (len(found.mean), found.low, len(found.seeds)) == (0, None, 2)


def test_one_seed_has_no_interval() -> None:
    found = joined([Curve((1.0,), (2.0,)), Curve()])
    assert (found.mean, found.low) == (Curve((1.0,), (2.0,)), None)
    assert len(joined([]).mean) == 0


def test_long_grids_are_even() -> None:
    grid = common_grid([curve((x, 0.0) for x in range(5000)), curve((x + 0.5, 0.0) for x in range(5000))])
    assert (len(grid), grid[0], grid[-1]) == (GRID_POINTS, 0.5, 4999.0)


def test_figures_of_a_group(tmp_path: Path) -> None:
    runs = [RunRecord(make_run(tmp_path / f"{seed}", seed=seed, returns=[1.0, 10.0 * seed])) for seed in (1, 2)]
    (one,) = compare(grouped(runs), EVALUATION)
    assert one.final is not None
    assert (one.final.mean, one.final.low, one.final.high) == (15.0, 10.0, 20.0)
    assert (one.frames, one.frames_per_second, one.seconds) == (3000, 100.0, 20.0)
    assert json.loads(json.dumps(one.to_json(), allow_nan=False))["seeds"] == [1, 2]


def test_curves_over_time(tmp_path: Path) -> None:
    (one,) = compare(grouped([RunRecord(make_run(tmp_path / "run"))]), EVALUATION, "time")
    assert one.curve.mean == Curve((10.0, 20.0, 30.0), (10.0, 20.0, 30.0))


def test_what_is_not_finite_is_left_out(tmp_path: Path) -> None:
    (one,) = compare(grouped([RunRecord(make_run(tmp_path / "run", returns=["nan", 4.0, "inf"]))]), EVALUATION)
    assert one.curve.mean == Curve((2000.0,), (4.0,))
    assert one.final is not None
    assert one.final.mean == 4.0


@pytest.mark.parametrize(("format", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_picture(tmp_path: Path, format: str, begin: bytes) -> None:
    runs = [RunRecord(make_run(tmp_path / f"{seed}", seed=seed, name="_a $x$ \x1b 猫")) for seed in (1, 2)]
    runs.append(RunRecord(make_run(tmp_path / "empty", learning_rate=1.0, returns=())))
    compared = compare(grouped(runs), EVALUATION)
    compared[0].group.label = "_hidden $\\frac{1}{$"
    pictures = [draw_comparison(compared, metric="$y$", axis="frames", title="$\\x", format=format) for _ in range(2)]
    assert pictures[0].startswith(begin)
    assert pictures[0] == pictures[1]
    assert b"rl2 compare" in pictures[0][:4096]


def test_picture_of_nothing(tmp_path: Path) -> None:
    compared = compare(grouped([RunRecord(make_run(tmp_path / "run", returns=()))]), EVALUATION)
    assert draw_comparison(compared, metric="y", axis="time", title="t", format="png")


@pytest.mark.parametrize(("value", "text"), [(1.5e6, "1.5 M"), (20_000, "20 k"), (0.25, "0.25"), (-3e9, "-3 G")])
def test_short_counts(value: float, text: str) -> None:
    assert short_count(value) == text


@pytest.mark.parametrize(("value", "text"), [(-1200, "-1,200"), (0.25, "0.25"), (2.5e6, "2.5 M")])
def test_counts_of_returns(value: float, text: str) -> None:
    assert plain_count(value) == text


def test_each_environment_has_a_panel(tmp_path: Path) -> None:
    runs = []
    for name in ("One-v0", "Two-v0", "Three-v0"):
        path = make_run(tmp_path / name)
        settings = (path / "resolved.toml").read_text(encoding="utf-8")
        (path / "resolved.toml").write_text(settings.replace("CartPole-v1", name), encoding="utf-8")
        runs.append(RunRecord(path))
    picture = draw_comparison(compare(grouped(runs), EVALUATION), metric="y", axis="frames", title="t", format="svg")
    assert re.findall(rb"<!-- (\w+-v0) -->", picture) == [b"One-v0", b"Two-v0", b"Three-v0"]
