"""The plugins in tests/plugins, as their authors would use them: registered on the command line, then trained with."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command_runner import Rl2

from rl2cli import registry
from rl2cli.algorithms.base import Task
from rl2cli.algorithms.ppo import PPO
from rl2cli.networks.mlp import MLP
from rl2cli.training.clock import Clock
from rl2cli.training.collector import Collector

PLUGINS = Path(__file__).parents[1] / "plugins"
NAMES = sorted(path.stem for path in PLUGINS.glob("*.py"))
MOST_LINES = {"fourier_network": 39, "reinforce": 99, "mjlab_adapter": 59}
"""Lines of those that are to show how little is needed."""

SETTINGS = """
total_frames = 512
[evaluation]
episodes = 2
[logging]
tensorboard = false
"""


@pytest.fixture(autouse=True)
def _of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test empty settings, and forget afterwards what it imported."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in NAMES:
        sys.modules.pop(name, None)
    for plugins in (registry.algorithms, registry.networks, registry.adapters):
        for name in ("fourier", "reinforce", "rover", "poles", "mjlab", "envpool", "tried-out"):
            plugins.unregister(name)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with every plugin in it."""
    for name in NAMES:
        shutil.copy(PLUGINS / f"{name}.py", tmp_path)
    return tmp_path


def write_spec(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(SETTINGS.replace("[evaluation]", f"{text}\n[evaluation]"), encoding="utf-8")
    return name


def test_they_are_as_small_as_they_say() -> None:
    lines = {name: len((PLUGINS / f"{name}.py").read_text(encoding="utf-8").splitlines()) for name in NAMES}
    assert lines == {name: min(count, MOST_LINES.get(name, 99)) for name, count in lines.items()}


@pytest.mark.usefixtures("quick")
def test_a_network_and_an_algorithm_train_resume_and_infer(
    rl2: Rl2, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, name, target in (
        ("network", "fourier", "fourier_network:Fourier"),
        ("algorithm", "reinforce", "reinforce:Reinforce"),
    ):
        ended = rl2(f"register-{kind}", name, target)
        assert (ended.code, "warning" in ended.stderr) == (0, False), ended.stderr
    env = '[env]\nid = "CartPole-v1"\n'
    spec = write_spec(project, "s.toml", f'{env}[network]\nname = "fourier"\n[algorithm]\nname = "reinforce"')
    ended = rl2("train", spec, "--run-dir", "run")
    assert ended.code == 0, ended.stderr
    recorded = json.loads((project / "run" / "run.json").read_text())["plugins"]
    assert {"fourier_network", "reinforce"} <= {each["module"] for each in recorded}
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    ended = rl2("resume", "../run", "--frames", "1024")
    assert ended.code == 0, ended.stderr
    assert "changed since" not in ended.stderr
    with (project / "reinforce.py").open("a") as file:
        file.write("# another line\n")
    ended = rl2("infer", "../run", "--episodes", "2", "--json")
    assert ended.code == 0, ended.stderr
    assert json.loads(ended.stdout)["episodes"] == 2
    assert "reinforce:Reinforce has changed since the run began" in ended.stderr


@pytest.mark.usefixtures("quick")
def test_reinforce_refuses_what_it_cannot_serve(rl2: Rl2, project: Path) -> None:
    assert rl2("register-algorithm", "reinforce", "reinforce:Reinforce", "--no-check").code == 0
    spec = write_spec(project, "s.toml", '[env]\nid = "Pendulum-v1"\n[algorithm]\nname = "reinforce"')
    ended = rl2("train", spec)
    assert ended.code == 2
    assert 'hint: name = "ppo" takes every kind' in ended.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_dict_observation_is_the_same_in_worker_processes(rl2: Rl2, project: Path) -> None:
    assert rl2("register-adapter", "rover", "rover_adapter:RoverAdapter").code == 0
    spec = write_spec(project, "s.toml", '[env]\nbackend = "rover"\nsize = 4\nnum_envs = 4\nmax_steps = 20')
    results = []
    for workers in (0, 2):
        ended = rl2("train", spec, "--set", f"env.workers={workers}", "--run-dir", f"run{workers}", "--json")
        assert ended.code == 0, ended.stderr
        results.append((project / f"run{workers}" / "metrics.jsonl").read_bytes())
    assert results[0] == results[1]
    assert b"loss" in results[0]


@pytest.mark.usefixtures("quick")
def test_a_vectorised_adapter_keeps_the_contract_and_resumes_exactly(rl2: Rl2, project: Path) -> None:
    assert rl2("register-adapter", "poles", "poles_adapter:PolesAdapter").code == 0
    ended = rl2("check-env", "poles", "--num-envs", "3", "--set", "env.max_steps=20")
    assert ended.code == 0, ended.stdout
    assert "it keeps the contract" in ended.stdout
    spec = write_spec(project, "s.toml", '[env]\nbackend = "poles"\nnum_envs = 4')
    assert rl2("train", spec, "--run-dir", "whole", "--frames", "1024").code == 0
    assert rl2("train", spec, "--run-dir", "parts").code == 0
    assert rl2("resume", "parts", "--frames", "1024").code == 0
    whole, parts = ((project / run / "metrics.jsonl").read_text().splitlines()[-1] for run in ("whole", "parts"))
    assert json.loads(whole)["frames"] == json.loads(parts)["frames"] == 1024
    assert json.loads((project / "parts" / "summary.json").read_text())["exact"] is True


def test_nothing_of_a_vectorised_adapter_leaves_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """On torch's device `meta` every way to the host raises, so this needs no GPU."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    from poles_adapter import PolesAdapter

    env = PolesAdapter(PolesAdapter.Options(), num_envs=8, device="meta")
    with monkeypatch.context() as patch:  # there are no random numbers on it
        patch.setattr(torch, "Generator", lambda device: _generator())
        env.setup()
    device = torch.device("meta")
    with pytest.raises((RuntimeError, NotImplementedError)):
        env.state.cpu()

    def network(extra: int) -> MLP:
        return MLP(MLP.Options(), env.observation_space, extra)

    task = Task(
        env.observation_space, env.action_space, 8, 1000, device, network, network, lambda purpose: _generator()
    )
    collector = Collector(PPO(PPO.Options(rollout_length=4), task), env, Clock())
    collector.reset(np.arange(8))
    collector._checked = True  # the first step is looked at on the host
    assert collector._fill(collector.rollout, collector.algorithm, Clock(), None)
    assert collector.rollout.reward.device == device
    assert {value.device for value in collector.rollout.chosen.values()} == {device}


_generator = torch.Generator


@pytest.mark.slow
def test_mjlab_trains(rl2: Rl2, project: Path) -> None:
    """`pip install mjlab`, then `python -m pytest -m slow -n 0 -k mjlab tests/cli/test_strangers_code.py`."""
    pytest.importorskip("mjlab", reason="mjlab is not installed: pip install mjlab")
    assert rl2("register-adapter", "mjlab", "mjlab_adapter:MjlabAdapter", "--time-limit", "600").code == 0
    spec = write_spec(project, "s.toml", '[env]\nbackend = "mjlab"\ntask = "Mjlab-Cartpole-Balance"\nnum_envs = 16')
    ended = rl2("train", spec, "--set", "evaluation.episodes=2", "--json")
    assert ended.code == 0, ended.stderr
    assert json.loads(ended.stdout)["frames"] >= 512


@pytest.mark.slow
def test_envpool_trains(rl2: Rl2, project: Path) -> None:
    """`pip install envpool`, then `python -m pytest -m slow -n 0 -k envpool tests/cli/test_strangers_code.py`."""
    pytest.importorskip("envpool", reason="envpool is not installed: pip install envpool")
    assert rl2("register-adapter", "envpool", "envpool_adapter:EnvPoolAdapter").code == 0
    spec = write_spec(project, "s.toml", '[env]\nbackend = "envpool"\ntask = "CartPole-v1"\nnum_envs = 8')
    ended = rl2("train", spec, "--json")
    assert ended.code == 0, ended.stderr
    assert rl2("check-env", "envpool").code == 0


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "name", "target"),
    [("network", "fourier", "fourier_network:Fourier"), ("algorithm", "reinforce", "reinforce:Reinforce")],
)
def test_they_learn_cartpole(rl2: Rl2, project: Path, seed: int, kind: str, name: str, target: str) -> None:
    assert rl2(f"register-{kind}", name, target, "--no-check").code == 0
    text = f'[env]\nid = "CartPole-v1"\nnum_envs = 16\n[{kind}]\nname = "{name}"'
    spec = write_spec(project, "s.toml", text)
    learn = ("--set", "evaluation.target_return=400.0", "--set", "evaluation.every=10_000")
    enough = ("--frames", "150_000", "--set", "evaluation.episodes=20")
    ended = rl2("train", spec, "--seed", seed, *learn, *enough, "--json")
    assert json.loads(ended.stdout)["status"] == "target reached", ended.stderr
