"""`rl2 doctor` of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_runner import Ended, Rl2


@pytest.fixture
def damaged(trained: tuple[Path, Ended], tmp_path: Path) -> Path:
    run = shutil.copytree(trained[0], tmp_path / "damaged")
    with max((run / "checkpoints").glob("[0-9]*")).joinpath("state.json").open("ab") as file:
        file.write(b"\x1b[2J")
    return run


def test_a_good_run(rl2: Rl2, trained: tuple[Path, Ended]) -> None:
    ended = rl2("doctor", trained[0])
    assert (ended.code, ended.stderr) == (0, "")
    assert "finished" in ended.stdout
    assert "the best" in ended.stdout
    assert ended.stdout.splitlines()[-1].endswith(f"rl2 resume {trained[0]}")


def test_a_damaged_run(rl2: Rl2, damaged: Path) -> None:
    ended = rl2("doctor", damaged)
    assert ended.code == 6
    assert "DAMAGED: state.json" in ended.stdout
    found = rl2("doctor", damaged, "--json")
    answer = json.loads(found.stdout)
    assert (found.code, answer["is_good"]) == (6, False)
    assert "state.json" in answer["checkpoints"][-1]["damage"]
    assert answer["resumes_from"] == answer["checkpoints"][-2]["frames"]


def test_a_run_that_nothing_is_left_of(rl2: Rl2, damaged: Path) -> None:
    shutil.rmtree(damaged / "checkpoints")
    ended = rl2("doctor", damaged)
    assert ended.code == 6
    assert "nothing of this run can be gone on with" in ended.stdout
    assert rl2("doctor", "--digest", damaged).code == 6


def test_digest(rl2: Rl2, trained: tuple[Path, Ended], damaged: Path) -> None:
    run, _ = trained
    ended = rl2("doctor", "--digest", run)
    assert (ended.code, len(ended.stdout.strip())) == (0, 64)
    answer = json.loads(rl2("doctor", "--digest", run, "--json").stdout)
    assert answer["digest"] == ended.stdout.strip()
    assert {"weights", "optimiser", "generators", "environments", "replay", "metrics"} <= set(answer["parts"])
    first, *_, last = sorted((run / "checkpoints").glob("[0-9]*"))
    assert rl2("doctor", "--digest", last).stdout == ended.stdout
    earlier = rl2("doctor", "--digest", first)
    assert earlier.stdout != ended.stdout
    passed_over = rl2("doctor", "--digest", damaged)  # the last one is damaged, so the one before is meant
    assert passed_over.stdout == rl2("doctor", "--digest", run / "checkpoints" / str(_before_last(run))).stdout
    assert "state.json" in passed_over.stderr


def _before_last(run: Path) -> str:
    return sorted(path.name for path in (run / "checkpoints").glob("[0-9]*"))[-2]


def test_no_such_run(rl2: Rl2) -> None:
    for words in (["doctor", "nowhere"], ["doctor", "--digest", "nowhere"], ["doctor", "--digest"]):
        ended = rl2(*words)
        assert (ended.code, ended.stdout) == (2, "")
