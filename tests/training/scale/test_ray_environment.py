"""What a connection to Ray changes in this process, and that it is as before behind it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rl2cli.training import learners, scale
from rl2cli.training.scale import ray_environment
from rl2cli.training.scale.ray_environment import Variables

OF_A_LEARNER = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1", "TORCHELASTIC_RUN_ID": "none"}


def test_a_worker_is_not_told_that_it_is_a_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**OF_A_LEARNER, "HOME_OF_MINE": "here"}.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with ray_environment._without_torchrun():
        assert not OF_A_LEARNER.keys() & os.environ.keys()
        assert os.environ["HOME_OF_MINE"] == "here"
    assert dict(os.environ) == before


def test_variables_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    before, kept = dict(os.environ), Variables()
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["PYTHONPATH"] = "elsewhere"
    del os.environ["RAY_ADDRESS"]
    kept.put_back()
    assert dict(os.environ) == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sessions that end with their parent are Linux's")
def test_processes_of_ray_are_in_no_group_that_is_signalled_with_the_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    utils = ModuleType("ray._private.utils")
    utils.set_kill_on_parent_death_linux = lambda: calls.append("bound")  # type: ignore[attr-defined]
    private = ModuleType("ray._private")
    private.utils = utils  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray._private", private)
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    before = utils.set_kill_on_parent_death_linux
    with ray_environment._sessions_of_their_own():
        code = "import os; print(os.getsid(0) == os.getpid() == os.getpgrp())"
        told = subprocess.run(
            [sys.executable, "-c", code],
            preexec_fn=lambda: utils.set_kill_on_parent_death_linux(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout == "True\n"
    assert utils.set_kill_on_parent_death_linux is before
    before()
    assert calls == ["bound"]


def test_nothing_that_runs_on_several_hosts_reads_the_time_of_day() -> None:
    folders = [Path(str(package.__file__)).parent for package in (scale, learners)]
    sources = [path for folder in folders for path in folder.glob("*.py")]
    assert len(sources) > 10
    for path in sources:
        text = path.read_text(encoding="utf-8")
        assert "time.time" not in text, path
        assert "datetime" not in text.replace("from datetime import timedelta", ""), path
