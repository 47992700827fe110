"""Which runs belong together, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_run import make_run

from rl2cli.results.groups import Group, grouped, in_toml, labels, settings_that_matter
from rl2cli.results.run_record import RunRecord


def _group(**settings: str) -> Group:
    run = RunRecord.__new__(RunRecord)
    run.path = Path("folder")
    return Group([run], {name.replace("__", "."): value for name, value in settings.items()})


def test_runs_that_differ_only_in_seed_are_one_group(tmp_path: Path) -> None:
    runs = [RunRecord(make_run(tmp_path / f"a{seed}", seed=seed)) for seed in (1, 2, 3)]
    runs += [RunRecord(make_run(tmp_path / f"b{seed}", seed=seed, learning_rate=0.01)) for seed in (1, 2)]
    groups = grouped(runs)
    assert [[run.seed for run in group.runs] for group in groups] == [[1, 2, 3], [1, 2]]
    assert [group.label for group in groups] == ["learning_rate = 3e-4", "learning_rate = 0.01"]


def test_how_it_is_measured_and_computed_does_not_matter() -> None:
    settings = {"seed": 1, "name": "a", "threads": 2, "env": {"id": "A", "workers": 2}, "logging": {"every": 1}}
    measured = {"evaluation": {"every": 5, "target_return": 1.0}, "algorithm": {"gamma": 0.9}}
    found = settings_that_matter(settings | measured)
    assert found == {"env.id": '"A"', "evaluation.target_return": "1.0", "algorithm.gamma": "0.9"}


def test_a_seed_counts_once(tmp_path: Path) -> None:
    short = make_run(tmp_path / "short", status="stopped")
    (short / "summary.json").write_text('{"status": "stopped", "frames": 5}')
    (group,) = grouped([RunRecord(short), RunRecord(make_run(tmp_path / "long"))])
    assert [run.path.name for run in group.runs] == ["long"]
    assert group.left_out == [f"{short}: {tmp_path / 'long'} has the same settings and seed, and no fewer frames"]


def test_one_group_is_called_what_it_is(tmp_path: Path) -> None:
    assert [group.label for group in grouped([RunRecord(make_run(tmp_path / "a"))])] == ["CartPole-v1, ppo"]


def test_runs_without_settings_are_groups_of_their_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
    groups = grouped([RunRecord(tmp_path / name) for name in ("one", "two")])
    assert [group.label for group in groups] == ["one", "two"]


def test_options_are_compared_within_an_algorithm() -> None:
    found = labels(
        [
            _group(env__id='"Pong"', algorithm__name='"ppo"', algorithm__gamma="0.9"),
            _group(env__id='"Pong"', algorithm__name='"ppo"', algorithm__gamma="0.99"),
            _group(env__id='"Pong"', algorithm__name='"sac"', algorithm__tau="0.005"),
        ]
    )
    assert found == ["ppo, gamma = 0.9", "ppo, gamma = 0.99", "sac"]


def test_names_that_two_tables_have_are_given_in_full() -> None:
    found = labels([_group(env__size="1", network__size="1"), _group(env__size="2")])
    assert found == ["env.size = 1, network.size = 1", "env.size = 2, network.size not set"]


def test_many_differences_are_counted() -> None:
    first, second = ({f"algorithm__{letter}": value for letter in "abcde"} for value in "12")
    assert labels([_group(**first), _group(**second)]) == [
        "a = 1, b = 1, c = 1, 2 more differ",
        "a = 2, b = 2, c = 2, 2 more differ",
    ]


def test_the_same_label_twice_is_told_apart() -> None:
    first, second = ({**{f"a__{letter}": "1" for letter in "abc"}, "a__d": value} for value in "12")
    assert labels([_group(**first), _group(**second)]) == ["d = 1", "d = 2"]
    three = [_group(x="1" * 70), _group(x="1" * 80)]
    assert labels(three) == [f"x = {'1' * 59}… (folder)"] * 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.02, "0.02"),
        (3e-4, "3e-4"),
        (1e-5, "1e-5"),
        (0.99, "0.99"),
        (1.0, "1.0"),
        (0.00123, "1.23e-3"),
        (0.0, "0.0"),
        (True, "true"),
        ([1, 2], "[1, 2]"),
        ({"start": 1e-3, "end": 0}, "{start = 1e-3, end = 0}"),
        ("a", '"a"'),
    ],
)
def test_settings_as_toml(value: object, text: str) -> None:
    assert in_toml(value) == text
