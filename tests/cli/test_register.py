"""`rl2 register …`: what works is kept, and nothing that came from elsewhere is imported."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_runner import Rl2

from rl2cli import registry
from rl2cli.cli.registered import register
from rl2cli.plugins import edit
from rl2cli.plugins.kept import Registration, config_folder, user_file

ADAPTER = '''\
from pathlib import Path

import numpy as np
from gymnasium import spaces
from pydantic import Field

from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.options import Options

Path(__file__).with_name("imported").touch()


class Sim(BaseEnvAdapter):
    """A line to walk on."""

    class Options(Options):
        length: int = Field(4, ge=1, description="Length of the line.")

    resume = "episode_seed"

    def setup(self):
        self.observation_space = spaces.Box(-10.0, 10.0, (1,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, seed=None, mask=None):
        self.place = np.random.default_rng(seed).integers(-1, 2)
        return np.array([self.place], np.float32), {}

    def step(self, action):
        self.place += 2 * int(action) - 1
        ended = bool(abs(self.place) >= self.options.length)
        return np.array([self.place], np.float32), float(ended), ended, False, {}
'''
HOSTILE = '[adapters]\nsim = "sim:Sim"\n\n[modules]\nsim = "*"\n'


@pytest.fixture(autouse=True)
def _settings_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test empty settings, and forget afterwards what it made this process import."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in ("sim", "other"):
            del sys.modules[name]
    registry.adapters.unregister("sim")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an adapter in it."""
    (tmp_path / "sim.py").write_text(ADAPTER, encoding="utf-8")
    return tmp_path


def keep(project: Path) -> None:
    """Register `sim` without looking at it."""
    edit.keep(Registration("adapter", "sim", "sim:Sim", project / "rl2.toml", project))


@pytest.mark.slow
def test_what_works_is_kept_and_known_below_the_folder(
    rl2: Rl2, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = rl2("register", "adapter", "sim", "sim:Sim")
    assert ended.code == 0, ended.stderr
    assert f"adapter sim: sim:Sim, from {project / 'sim.py'}, kept in {project / 'rl2.toml'}" in ended.stdout
    assert "sim" not in sys.modules
    (project / "imported").unlink()
    (project / "sub" / "deep").mkdir(parents=True)
    monkeypatch.chdir(project / "sub" / "deep")
    (project / "s.toml").write_text('total_frames = 100\n[env]\nbackend = "sim"\nlength = 0\n', encoding="utf-8")
    assert "A line to walk on (sim:Sim, ../../rl2.toml)" in rl2("list", "adapters").stdout
    assert "length: integer, at least 1, default 4" in rl2("show", "sim").stdout
    assert "Length of the line." in rl2("explain", "env.length").stdout
    ended = rl2("validate", "../../s.toml")
    assert ended.code == 2
    assert "length = 0" in ended.stderr
    assert "an integer of at least 1, got 0" in ended.stderr
    assert '"length"' in rl2("schema").stdout
    assert not (project / "imported").exists()
    assert not [path for path in sys.path if Path(path).resolve() == project]


@pytest.mark.usefixtures("quick")
def test_comments_stay_and_names_are_added_and_removed(rl2: Rl2, project: Path) -> None:
    keep(project)
    file = project / "rl2.toml"
    file.write_text("# mine\n" + file.read_text() + "# the end\n\n[networks]  # none yet\n", encoding="utf-8")
    assert "changed by hand" in rl2("register-adapter", "two", "sim:Sim", "--no-check").stderr
    assert rl2("register", "trust").code == 0
    assert rl2("register-adapter", "two", "sim:Sim", "--no-check").code == 0
    text = file.read_text()
    assert "# mine" in text
    assert "# the end" in text
    assert "[networks]  # none yet" in text
    assert 'sim = "sim:Sim"\n# the end\ntwo = "sim:Sim"\n' in text
    assert rl2("register", "remove", "sim").code == 0
    assert file.read_text() == text.replace('sim = "sim:Sim"\n', "", 1)
    assert [each["name"] for each in json.loads(rl2("register", "list", "--json").stdout)["registered"]] == ["two"]
    assert "did you mean 'two'?" in rl2("register", "remove", "twoo").stderr


@pytest.mark.parametrize("command", ["list", "show", "explain", "schema", "validate", "register", "check-env", "train"])
def test_a_project_from_elsewhere_imports_nothing(rl2: Rl2, project: Path, command: str) -> None:
    (project / "rl2.toml").write_text(HOSTILE, encoding="utf-8")
    (project / "s.toml").write_text('total_frames = 100\n[env]\nbackend = "sim"\n', encoding="utf-8")
    (project / "g.toml").write_text('total_frames = 100\n[env]\nid = "sim:Maze-v0"\n', encoding="utf-8")
    lines = {
        "list": ["list"],
        "show": ["show", "sim"],
        "explain": ["explain", "env.length"],
        "schema": ["schema"],
        "validate": ["validate", "s.toml", "g.toml"],
        "register": ["register", "list"],
        "check-env": ["check-env", "sim"],
        "train": ["train", "s.toml"],
    }
    ended = rl2(*lines[command])
    assert not (project / "imported").exists()
    assert str(project) not in sys.path
    if command in ("list", "register"):
        assert "not trusted" in ended.stdout
    if command in ("show", "validate", "check-env", "train"):
        assert ended.code == 2
        assert "rl2 register trust" in ended.stderr
    if command == "train":
        assert rl2("train", "g.toml", "-q").code == 2
        assert rl2("check-env").code == 2
        assert not (project / "imported").exists()


@pytest.mark.usefixtures("quick")
def test_trust_is_for_the_file_as_it_is(rl2: Rl2, project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (project / "rl2.toml").write_text(HOSTILE, encoding="utf-8")
    ended = rl2("register", "trust")
    assert ended.code == 0
    assert "adapter sim: sim:Sim" in ended.stderr
    assert rl2("show", "sim").code == 0
    assert (project / "imported").exists()
    with (project / "rl2.toml").open("a", encoding="utf-8") as file:
        file.write("# a line more\n")
    assert "not trusted" in rl2("list").stdout
    elsewhere = tmp_path_factory.mktemp("copy")
    (project / "rl2.toml").write_text(HOSTILE, encoding="utf-8")
    assert "not trusted" not in rl2("list").stdout
    shutil.copytree(project, elsewhere, dirs_exist_ok=True)
    os.chdir(elsewhere)
    assert "not trusted" in rl2("list").stdout


@pytest.mark.usefixtures("quick")
def test_a_name_in_a_project_from_elsewhere_takes_no_other_names_place(rl2: Rl2, project: Path) -> None:
    assert rl2("register-adapter", "sim", "sim:Sim", "--no-check", "--user").code == 0
    assert user_file().is_file()
    assert str(project) in user_file().read_text()
    (project / "rl2.toml").write_text('[adapters]\nsim = "other:Sim"\ngymnasium = "other:Sim"\n', encoding="utf-8")
    assert "(sim:Sim, yours)" in rl2("list", "adapters").stdout
    assert registry.adapters.entry("gymnasium").origin == "built in"
    assert registry.adapters.entry("sim").trusted


def test_registering_in_a_project_from_elsewhere_does_not_trust_it(rl2: Rl2, project: Path) -> None:
    (project / "rl2.toml").write_text('[adapters]\nevil = "other:Evil"\n', encoding="utf-8")
    ended = rl2("register-adapter", "sim", "sim:Sim", "--no-check")
    assert ended.code == 2
    assert "`rl2 register trust`" in ended.stderr
    assert not (project / "imported").exists()
    assert "sim" not in (project / "rl2.toml").read_text()


@pytest.mark.usefixtures("quick")
def test_a_taken_name_asks_and_shows_both(rl2: Rl2, project: Path) -> None:
    keep(project)
    (project / "other.py").write_text(ADAPTER, encoding="utf-8")
    ended = rl2("register-adapter", "sim", "other:Sim", "--no-check")
    assert ended.code == 2
    assert "now: sim:Sim" in ended.stderr
    assert "new: other:Sim" in ended.stderr
    assert "--force" in ended.stderr
    assert rl2("register-adapter", "sim", "other:Sim", "--no-check", "--force").code == 0
    assert 'sim = "other:Sim"' in (project / "rl2.toml").read_text()
    ended = rl2("register-adapter", "gymnasium", "sim:Sim", "--force")
    assert (ended.code, "built in" in ended.stderr) == (2, True)


@pytest.mark.usefixtures("quick")
def test_two_kinds_of_one_name_are_told_apart(rl2: Rl2, project: Path) -> None:
    keep(project)
    assert rl2("register", "module", "sim").code == 0
    assert "say which: --kind adapter" in rl2("register", "remove", "sim").stderr
    assert rl2("register", "remove", "sim", "--kind", "module").code == 0
    assert (project / "rl2.toml").read_text().rstrip().endswith("[modules]")


@pytest.mark.usefixtures("quick")
def test_a_granted_module_is_found_where_it_was(rl2: Rl2, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rl2("register", "module", "sim").code == 0
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    ended = rl2("check-env", "gymnasium:sim:Maze-v0")
    assert "sim" in sys.modules
    assert "Maze" in ended.stderr


def test_a_module_that_never_returns_is_given_up(rl2: Rl2, project: Path) -> None:
    (project / "waits.py").write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    ended = rl2("register-adapter", "sim", "waits:Sim", "--time-limit", "0.4")
    assert ended.code == 2
    assert "took more than 0.4 seconds" in ended.stderr


def test_a_module_that_ends_python_is_refused_with_its_last_words(rl2: Rl2, project: Path) -> None:
    (project / "ends.py").write_text("import os\nprint('out of here', flush=True)\nos._exit(9)\n", encoding="utf-8")
    ended = rl2("register", "module", "ends")
    assert ended.code == 2
    assert "ended Python with exit code 9; its last words: out of here" in ended.stderr
    assert not (project / "rl2.toml").exists()


def test_damaged_files_are_warned_of_and_the_rest_holds(rl2: Rl2, project: Path) -> None:
    (project / "rl2.toml").write_text("adapter = 3\n[adapters]\nbad = 7\n\x07sim", encoding="utf-8")
    ended = rl2("list", "adapters")
    assert ended.code == 0
    assert "is not TOML" in ended.stderr
    assert rl2("register", "trust").code == 2
    (project / "rl2.toml").write_text('adapter = 3\n[adapters]\nbad = 7\n"a b" = "x:Y"\n', encoding="utf-8")
    ended = rl2("list", "adapters")
    assert "did you mean 'adapters'?" in ended.stderr
    assert "'7' does not name a class" in ended.stderr
    assert ended.stdout.startswith("gymnasium")
    config_folder().mkdir(parents=True, exist_ok=True)
    (config_folder() / "trusted.json").write_text('{"projects": 3}', encoding="utf-8")
    assert rl2("list").code == 0


@pytest.mark.usefixtures("quick")
def test_an_unknown_name_says_where_it_is_known(
    rl2: Rl2, project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(project)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    Path("s.toml").write_text('total_frames = 100\n[env]\nbackend = "sim"\n', encoding="utf-8")
    assert f"the project {project} has it" in rl2("validate", "s.toml").stderr
    Path(project / "s.toml").write_text(Path("s.toml").read_text(), encoding="utf-8")
    assert rl2("validate", project / "s.toml").code == 0


def test_a_group_word_alone_or_mistyped_is_explained(rl2: Rl2) -> None:
    assert "rl2 register list" in rl2("register").stdout
    assert register() is None
    ended = rl2("register", "lst")
    assert (ended.code, "did you mean 'list'?" in ended.stderr) == (2, True)
    assert "rl2 new adapter my_sim" in rl2("new").stderr
