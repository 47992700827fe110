"""What `import rl2cli` offers: training, loading, and a user's own parts with no edit in rl2."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import own_parts
import pytest

import rl2cli
from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.networks.base import BaseNetwork
from rl2cli.registry import adapters, algorithms, networks


@pytest.fixture
def _own_parts() -> Any:
    rl2cli.register_algorithm("reinforce", "own_parts:Reinforce")
    rl2cli.register_network("fourier", "own_parts:Fourier")
    rl2cli.register_adapter("walk", "own_parts:Walk")
    yield
    for registry, name in ((algorithms, "reinforce"), (networks, "fourier"), (adapters, "walk")):
        registry.unregister(name)


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    assert rl2cli.__all__ == sorted(rl2cli.__all__)
    for name in rl2cli.__all__:
        found = getattr(rl2cli, name)
        assert name.startswith("__") or inspect.getdoc(found)
    assert re.fullmatch(r"\d+\.\d+\.\d+", rl2cli.__version__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rl2cli.nothing


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, rl2cli; print([m for m in ('torch', 'numpy', 'gymnasium', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("base", [BaseAlgorithm, BaseEnvAdapter, BaseNetwork])
def test_a_base_class_asks_for_three_methods_at_most(base: type) -> None:
    assert 1 <= len(base.__abstractmethods__) <= 3


@pytest.mark.parametrize(("part", "limit"), [(own_parts.Reinforce, 100), (own_parts.Fourier, 40), (own_parts.Walk, 60)])
def test_an_own_part_is_short(part: type, limit: int) -> None:
    imports = len(inspect.getsource(own_parts).split("# --- network ---")[0].splitlines())
    assert len(inspect.getsource(part).splitlines()) + imports <= limit


SIZES = {"device": "cpu", "total_frames": 512, "evaluation": {"episodes": 2}}


@pytest.mark.usefixtures("_own_parts")
@pytest.mark.parametrize(
    "tables",
    [
        {"algorithm": {"name": "reinforce", "learning_rate": 0.1}, "env": {"id": "CartPole-v1", "num_envs": 4}},
        {"network": {"name": "fourier", "width": 8}, "env": {"id": "CartPole-v1", "num_envs": 4}},
        {"env": {"backend": "walk", "length": 3, "num_envs": 4}},
        pytest.param(
            {
                "algorithm": {"name": "reinforce"},
                "network": {"name": "fourier"},
                "env": {"backend": "walk", "num_envs": 4, "workers": 0},
            },
            marks=pytest.mark.slow,
        ),
    ],
)
def test_own_parts_train_resume_and_act(tmp_path: Path, tables: dict[str, Any]) -> None:
    from rl2cli.inference.benchmark import benchmark
    from rl2cli.reporting.view import make_view
    from rl2cli.training.session import resume

    summary = rl2cli.train({"name": "own", **SIZES, **tables}, run_dir=tmp_path / "run")
    assert summary.status == "finished"
    classes = {plugin["class"] for plugin in json.loads((tmp_path / "run" / "run.json").read_text())["plugins"]}
    assert classes & {"Reinforce", "Fourier", "Walk"}
    assert resume(summary.run_dir, view=make_view("quiet"), total_frames=1024).frames >= 1024
    assert benchmark(summary.run_dir, episodes=2)["episodes"] == 2
    with closing(rl2cli.load_policy(summary.run_dir)) as policy:
        action = policy(policy.observation_space.sample())
        assert policy.action_space.contains(action)


def test_training_writes_nothing_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = {"name": "here", **SIZES, "total_frames": 128, "env": {"id": "CartPole-v1", "num_envs": 4}}
    summary = rl2cli.train({**spec, "algorithm": {"rollout_length": 32, "minibatch_size": 64}})
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert Path(summary.run_dir).resolve().is_relative_to(tmp_path / "outputs" / "here")


def test_make_env_adapter_is_public() -> None:
    with closing(rl2cli.make_env_adapter({"id": "CartPole-v1", "num_envs": 2}, workers=0)) as env:
        assert env.num_envs == 2
