"""Runs that differ only in their seed: their folder, their processes, and how many fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rl2cli.errors import UsageError
from rl2cli.training.run_folder import GROUP_FILE, find_run, group_of
from rl2cli.training.seed_group import SeedGroup, SeedProcesses, plan_settings, runs_at_once
from rl2cli.training.signals import StopRequest

SMALL = {"device": "cpu", "threads": 1, "workers": 0, "overlap": False}


@pytest.mark.parametrize(
    ("changes", "cores", "expected"),
    [
        ({}, 2, 2),
        ({}, 16, 16),
        ({"threads": 2}, 2, 1),
        ({"threads": 4}, 2, 1),
        ({"overlap": True}, 2, 1),
        ({"overlap": True, "threads": 3}, 16, 4),
        ({"workers": 5}, 16, 3),
        ({"device": "cuda:0"}, 16, 1),
        ({"threads": "many"}, 3, 3),
    ],
)
def test_as_many_at_once_as_cores_allow(changes: dict[str, object], cores: int, expected: int) -> None:
    assert runs_at_once(SMALL | changes, cores) == expected


def test_choices_become_settings() -> None:
    settings = plan_settings({"device": "cpu", "threads": 1, "workers": 0, "compile": True, "other": {"a": 1}})
    assert settings == ['--set=device="cpu"', "--set=threads=1", "--set=compile=true", "--set=env.workers=0"]


def make(tmp_path: Path, *seeds: int) -> SeedGroup:
    return SeedGroup.create(tmp_path / "outputs", "small", seeds, "# written\n", "# all\n", None)


def test_folder_of_a_group(tmp_path: Path) -> None:
    group, other = make(tmp_path, 3, 4), make(tmp_path, 3, 4)
    assert group.path != other.path
    assert group.path.parent == tmp_path / "outputs" / "small"
    assert (group.path / "spec.toml").read_text() == "# written\n"
    assert group.spec.read_text() == "# all\n"
    assert SeedGroup.open(group.path) == SeedGroup(group.path, (3, 4))
    run = group.run_dir(4)
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"started": "2026-01-01T00:00:00+00:00"}))
    assert group_of(run) == group.path
    assert find_run(None, tmp_path / "outputs").path == run
    assert find_run(str(group.path)).path == run
    with pytest.raises(UsageError, match="not an empty folder"):
        SeedGroup.create(tmp_path, "small", [1], "", "", group.path)


@pytest.mark.parametrize("content", ["{}", '{"seeds": [1, "2"]}', '{"seeds": [-1]}', '{"seeds": [true]}', "[]", "{"])
def test_a_damaged_group_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / GROUP_FILE).write_text(content)
    with pytest.raises(UsageError, match="does not hold a group"):
        SeedGroup.open(tmp_path)


def test_processes_of_a_group(tmp_path: Path) -> None:
    said: list[tuple[int, str]] = []
    ended: list[int] = []
    commands = {1: ["--version"], 2: ["trane"], 3: ["schema"]}
    processes = SeedProcesses(
        make(tmp_path, 1, 2, 3),
        [1, 2, 3],
        lambda seed, plan: [*commands[seed], *plan],
        lambda seed, line: said.append((seed, line)),
        lambda run: ended.append(run.seed),
    )
    with StopRequest() as stop:
        processes.run(stop)
    assert ended == [1, 2, 3]  # one after the other: none of them said what it takes
    assert [run.exit_code for run in processes.runs] == [0, 2, 0]
    assert processes.runs[0].output.startswith("rl2 ")
    assert processes.runs[0].result() == {}
    assert "properties" in processes.runs[2].result()
    assert (2, "error: unknown command 'trane'") in said
    assert {seed for seed, _ in said} == {2}


def test_nothing_is_started_after_a_signal(tmp_path: Path) -> None:
    def refuse(seed: int, plan: list[str]) -> list[str]:
        raise AssertionError(f"seed {seed} was started")

    processes = SeedProcesses(make(tmp_path, 1, 2), [1, 2], refuse, lambda seed, line: None, lambda run: None)
    with StopRequest() as stop:
        stop.signal_number = 2
        processes.run(stop)
    assert [run.exit_code for run in processes.runs] == [None, None]
