"""Checkpoints of every format, and of every layout it had, are resumed, or refused with the version that reads them.

A folder below `old_checkpoints` is what a run of that time left; it is never made anew.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_runs import newest, rows

import rl2cli
from rl2cli.errors import UsageError
from rl2cli.reporting.view import make_view
from rl2cli.training.checkpoint_format import FORMAT_VERSION, Manifest
from rl2cli.training.migration import refused_in_words
from rl2cli.training.session import resume

FIXTURES = sorted((Path(__file__).parent / "old_checkpoints").iterdir())
MOST_BYTES = 50_000


def test_every_format_has_a_fixture() -> None:
    versions = {int(path.name.split("_")[1]) for path in FIXTURES}
    assert versions == set(range(1, FORMAT_VERSION + 1))


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_an_old_checkpoint_is_resumed_to_the_end(
    fixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sum(path.stat().st_size for path in fixture.rglob("*") if path.is_file()) < MOST_BYTES
    run = tmp_path / "run"
    shutil.copytree(fixture, run)
    before = newest(run)
    assert Manifest.read(before.path).frames == before.frames
    summary = resume(str(run), view=make_view("quiet"), total_frames=before.frames + 64)
    assert capsys.readouterr().err == ""  # it goes on exactly: nothing is said to begin anew
    assert summary.frames >= before.frames + 64
    assert [row["frames"] for row in rows(run / "metrics.jsonl")][-1] == summary.frames
    rl2cli.load_policy(run).close()


def test_a_state_that_does_not_fit_names_the_version_that_wrote_it() -> None:
    for metadata, name in (({"rl2": "0.9.1"}, "rl2 0.9.1"), ({}, "an rl2 before 0.1.0")):
        with pytest.raises(UsageError, match=name) as caught, refused_in_words(metadata):
            raise KeyError("collector")
        assert name in str(caught.value.hint)


def test_what_this_version_wrote_and_cannot_read_is_a_bug() -> None:
    with pytest.raises(KeyError), refused_in_words({"rl2": rl2cli.__version__}):
        raise KeyError("collector")


def test_a_checkpoint_says_which_version_wrote_it() -> None:
    (state,) = (FIXTURES[0] / "checkpoints").glob("0*/state.json")
    metadata: dict[str, Any] = json.loads(state.read_text())["metadata"]
    assert metadata["rl2"] == "0.1.0"
