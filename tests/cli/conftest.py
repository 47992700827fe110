"""A folder of its own for every command, and a run to look at."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from command_runner import SPEC, Ended, Rl2

from rl2cli import trust
from rl2cli.checks import plugin_process
from rl2cli.cli import main
from rl2cli.plugins import inspection


@pytest.fixture
def rl2(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rl2:
    """Runs `rl2` in this process, in an empty folder, without grants from other tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trust, "_granted", set())

    def call(*arguments: object) -> Ended:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return call


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at plugins in this process: a new one takes seconds to import torch."""

    def run(task: dict[str, Any], answer: Path, *_: object) -> Any:
        plugin_process.main(json.dumps(task))
        return json.loads(answer.read_bytes())

    monkeypatch.setattr(inspection, "_run", run)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec that trains for 512 frames."""
    path = tmp_path / "small.toml"
    path.write_text(SPEC, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """The folder of a run that was trained, and what its command printed; nothing may change it."""
    folder = tmp_path_factory.mktemp("trained")
    path = folder / "small.toml"
    path.write_text(SPEC, encoding="utf-8")
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = main(["train", str(path), "--run-dir", str(folder / "run")])
    return folder / "run", Ended(code, stdout.getvalue(), stderr.getvalue())
