"""`rl2 new`: what it writes works as it stands, its test passes, and the command it says registers it."""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_runner import Rl2

from rl2cli import registry


@pytest.fixture(autouse=True)
def _as_if_new(
    quick: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Give each test empty settings, and forget afterwards what it imported."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("ski_slope", None)
    for plugins in (registry.algorithms, registry.networks, registry.adapters):
        for name in ("ski-slope", "tried-out", "ski_slope_in_its_test"):
            plugins.unregister(name)


@pytest.mark.parametrize(("kind", "tests"), [("adapter", 3), ("network", 3), ("algorithm", 2)])
def test_what_is_written_works_as_it_stands(rl2: Rl2, tmp_path: Path, kind: str, tests: int) -> None:
    ended = rl2("new", kind, "ski-slope")
    assert ended.code == 0, ended.stderr
    assert ended.stdout == "ski_slope.py\ntest_ski_slope.py\nski_slope.toml\n"
    assert "my_" not in (tmp_path / "ski_slope.py").read_text()
    (line,) = re.findall(r"^ +rl2 (register-.*)$", ended.stderr, re.MULTILINE)
    assert line == f"register-{kind} ski-slope ski_slope:SkiSlope"
    ended = rl2(*shlex.split(line))
    assert ended.code == 0, ended.stderr
    assert "warning" not in ended.stderr
    assert "ski-slope" in rl2("list", f"{kind}s").stdout
    assert rl2("validate", "ski_slope.toml").code == 0
    sys.path.append(str(tmp_path))
    found = [test for name, test in runpy.run_path("test_ski_slope.py").items() if name.startswith("test_")]
    assert len(found) == tests
    for index, test in enumerate(found):
        folder = tmp_path / str(index)
        test(folder) if inspect.signature(test).parameters else test()


def test_below_the_projects_folder_the_command_has_the_way_there(
    rl2: Rl2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rl2.toml").touch()
    (tmp_path / "parts").mkdir()
    monkeypatch.chdir(tmp_path / "parts")
    assert "rl2 register-network net parts.net:Net\n" in rl2("new", "network", "net").stderr


@pytest.mark.parametrize("name", ["random", "torch", "1st", "a/b", "class", "", "ünfug"])
def test_a_name_that_no_module_can_have_is_refused(rl2: Rl2, tmp_path: Path, name: str) -> None:
    ended = rl2("new", "adapter", name)
    assert ended.code == 2
    assert "hint: " in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(rl2: Rl2, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("precious", encoding="utf-8")
    assert rl2("new", "adapter", "mine").code == 2
    assert (tmp_path / "test_mine.py").read_text() == "precious"
    assert not (tmp_path / "mine.py").exists()
