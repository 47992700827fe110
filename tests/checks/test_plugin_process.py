"""Looking at a plugin: what works is described, what does not says which part, with the plugin's own lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rl2cli import registry
from rl2cli.checks import plugin_process
from rl2cli.errors import PluginError
from rl2cli.plugins.kept import TABLES, parse, require_target

PARTS = ("parts", "broken", "unfinished", "leaves", "needs", "sim", "inner", "nets", "algos", "vectorised")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with plugins that do not work; what was imported from it is forgotten."""
    write_mistakes(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules):
        if name.partition(".")[0] in PARTS:
            del sys.modules[name]
    registry.algorithms.unregister("tried-out")


def look(kind: str, target: str, folder: Path, *, build: bool = True) -> dict[str, Any]:
    answer = folder / "answer.json"
    task = {"kind": kind, "target": target, "folder": str(folder), "build": build, "answer": str(answer)}
    plugin_process.main(json.dumps(task))
    report: dict[str, Any] = json.loads(answer.read_bytes())
    return report


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("simm:Sim", "module 'simm' not found: neither in", "did you mean sim:Sim?"),
        ("deep:Sim", "module 'deep' not found", "did you mean inner.deep:Sim?"),
        ("parts:Raiss", "'Raiss' is not in parts", "did you mean 'Raises'?"),
        ("parts:Nothing", "Nothing in parts is not a BaseEnvAdapter, it is derived from nothing", "rl2 new adapter"),
        ("parts:Maze", "Maze in parts is not a BaseEnvAdapter but an Env", "rl2 register module parts"),
        ("parts:Half", "Half has no methods 'setup', 'step'", "rl2 new adapter NAME"),
        ("parts:NUMBER", "parts:NUMBER is not a class but an int", None),
        ("parts:Spaceless", "setup of Spaceless does not set self.observation_space", "Gymnasium space"),
        ("parts:WrongShape", "observation", None),
        ("parts:Raises", "environment 0 raised ZeroDivisionError in step", None),
        ("broken:Sim", "importing broken raised KeyError: 'no such key'", None),
        ("unfinished:Sim", "importing unfinished raised SyntaxError", None),
        ("leaves:Sim", "importing leaves raised SystemExit: 3", None),
        ("needs:Sim", "module 'needs' needs 'no_such_package_of_mine', which is not installed", "pip install"),
        ("random:Sim", "the module 'random' in", "rename random.py"),
        ("pydantic:Sim", "the module 'pydantic' in", "or uninstall the other"),
    ],
)
def test_a_mistake_says_which_part(folder: Path, target: str, message: str, hint: str | None) -> None:
    report = look("adapter", target, folder)
    assert message in report["message"]
    assert hint is None or hint in report["hint"]
    assert report["missing"] is (target == "needs:Sim")
    assert not (folder / "shadowed").exists()
    for file, line, _, source in report["frames"]:
        assert Path(file).parent == folder
        assert line > 0
        assert source
    if target in ("broken:Sim", "unfinished:Sim", "parts:Raises"):
        assert Path(report["frames"][-1][0]).stem == target.partition(":")[0]


def write_mistakes(folder: Path) -> None:
    base = "import gymnasium\nimport numpy as np\nfrom gymnasium import spaces\n"
    base += "from rl2cli.envs.base import BaseEnvAdapter\n"
    (folder / "inner").mkdir()
    (folder / "inner" / "deep.py").touch()
    files = {
        "parts": f"""{base}
NUMBER = 3

class Nothing: ...

class Maze(gymnasium.Env): ...

class Half(BaseEnvAdapter):
    def reset(self, seed=None, mask=None): ...

class Spaceless(Half):
    def setup(self): ...
    def step(self, action): ...

class WrongShape(BaseEnvAdapter):
    def setup(self):
        self.observation_space = spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
    def reset(self, seed=None, mask=None):
        return np.zeros(3, np.float32), {{}}
    def step(self, action):
        return np.zeros(3, np.float32), 0.0, True, False, {{}}

class Raises(WrongShape):
    def reset(self, seed=None, mask=None):
        return np.zeros(2, np.float32), {{}}
    def step(self, action):
        return 1 / 0
""",
        "broken": "{}['no such key']\n",
        "unfinished": "def half(:\n",
        "leaves": "raise SystemExit(3)\n",
        "needs": "import no_such_package_of_mine\n",
        "sim": "class Sim: ...\n",
        "random": "from pathlib import Path\nPath('shadowed').touch()\n",
        "pydantic": "from pathlib import Path\nPath('shadowed').touch()\n",
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


NETWORKS = """
import torch
from rl2cli.networks.base import BaseNetwork
from rl2cli.networks.mlp import flat_width, flatten
from rl2cli.options import Options
from rl2cli.errors import UsageError

class Good(BaseNetwork):
    "Adds nothing. Second sentence"
    class Options(Options):
        gain: float = 1.0
    def __init__(self, options, observation_space, extra_features=0):
        super().__init__(options, observation_space, extra_features)
        self.out_features = flat_width(observation_space) + extra_features
    def forward(self, observation, extra=None):
        flat = flatten(self.observation_space, observation) * self.options.gain
        return flat if extra is None else torch.cat([flat, extra], -1)

class Deaf(Good):
    def forward(self, observation, extra=None):
        return flatten(self.observation_space, observation)

class Picky(Good):
    class Options(Good.Options):
        file: str
        other: int

class Refuses(Good):
    def __init__(self, options, observation_space, extra_features=0):
        raise UsageError("takes point clouds")
"""


@pytest.mark.parametrize(
    ("name", "message", "note"),
    [
        ("Good", None, None),
        ("Deaf", "Deaf.forward: expected features torch.float32 [3, 6], got torch.float32 [3, 4], with extra", None),
        ("Picky", None, "not tried out, since these options have no default: file, other"),
        ("Refuses", None, "takes neither vectors, images nor a Dict of them: takes point clouds"),
    ],
)
def test_networks(folder: Path, name: str, message: str | None, note: str | None) -> None:
    (folder / "nets.py").write_text(NETWORKS, encoding="utf-8")
    report = look("network", f"nets:{name}", folder)
    assert (message is None) == ("message" not in report)
    assert message is None or message in report["message"]
    assert [note] == [None] if not report["notes"] else note is not None and note in report["notes"][0]
    if name == "Good":
        assert report["description"]["summary"] == "Adds nothing. Second sentence"
        assert report["description"]["files"].keys() == {str(folder / "nets.py")}
        assert report["description"]["schema"]["properties"]["gain"]["default"] == 1.0


ALGORITHMS = """
from own_parts import Reinforce

class Good(Reinforce):
    "Learns."

class Silent(Reinforce):
    def update(self, trajectories, frames):
        super().update(trajectories, frames)

class Wrong(Reinforce):
    def update(self, trajectories, frames):
        return 1 / 0
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Good", None),
        ("Silent", "Silent.update: expected a dict of numbers, got None"),
        ("Wrong", "using Wrong raised ZeroDivisionError"),
    ],
)
def test_algorithms(folder: Path, name: str, message: str | None) -> None:
    (folder / "algos.py").write_text(ALGORITHMS, encoding="utf-8")
    report = look("algorithm", f"algos:{name}", folder)
    assert report.get("message") is None if message is None else message in report["message"]
    if name == "Wrong":
        assert [frame[3] for frame in report["frames"]] == ["return 1 / 0"]


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("sim.py:Sim", "write the module without .py: sim:Sim"),
        ("sim", "write it as module:Class, such as sim:MyClass"),
        ("a/b:Sim", "with dots"),
        ("", "module:Class"),
        (":Sim", "module:Class"),
        ("sim:", "module:Class"),
    ],
)
def test_a_target_is_written_as_import_has_it(target: str, hint: str) -> None:
    with pytest.raises(PluginError) as caught:
        require_target("adapter", target)
    assert hint in (caught.value.hint or "")


def test_what_a_kept_file_may_say(tmp_path: Path) -> None:
    text = "".join(f'[{table}]\nname = "pkg.mod:Part"\n' for kind, table in TABLES.items() if kind != "module")
    kept = parse(tmp_path / "rl2.toml", f'{text}[modules]\npkg = "*"\nother = "x"\n'.encode())
    assert [each.module for each in kept.registrations] == ["pkg.mod", "pkg.mod", "pkg.mod", "pkg"]
    assert {each.folder for each in kept.registrations} == {tmp_path}
    assert len(kept.problems) == 1
    assert 'other = "*"' in kept.problems[0]


def test_a_projects_file_names_no_folder_of_its_own(tmp_path: Path) -> None:
    text = b'[adapters]\nsim = {target = "sim:Sim", folder = "/somewhere/else"}\n'
    (found,) = parse(tmp_path / "rl2.toml", text).registrations
    assert found.folder == tmp_path
    (found,) = parse(tmp_path / "plugins.toml", text).registrations
    assert found.folder == Path("/somewhere/else")


@pytest.mark.parametrize("text", [b"a" * 300_000, b"\xff", b"x = " + b"[" * 100_000, b"x = 1" + b"0" * 10_000])
def test_a_file_that_would_be_hard_to_read_is_a_problem(tmp_path: Path, text: bytes) -> None:
    kept = parse(tmp_path / "rl2.toml", text)
    assert kept.registrations == ()
    assert len(kept.problems) == 1
