"""A run's plugin that has changed since, or has gone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import rl2cli
from rl2cli import registry
from rl2cli.errors import UsageError

NETWORK = '''\
import torch

from rl2cli.networks.base import BaseNetwork
from rl2cli.networks.mlp import flat_width, flatten


class Linear(BaseNetwork):
    """No layer."""

    def __init__(self, options, observation_space, extra_features=0):
        super().__init__(options, observation_space, extra_features)
        self.out_features = flat_width(observation_space) + extra_features

    def forward(self, observation, extra=None):
        features = flatten(self.observation_space, observation)
        return features if extra is None else torch.cat([features, extra], -1)
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run with a network of the user's own."""
    (tmp_path / "changing_network.py").write_text(NETWORK, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    rl2cli.register_network("changing", "changing_network:Linear")
    spec = {
        "total_frames": 64,
        "env": {"id": "CartPole-v1", "num_envs": 4, "workers": 0},
        "network": {"name": "changing"},
        "algorithm": {"rollout_length": 16, "minibatch_size": 32},
        "evaluation": {"episodes": 1, "stochastic_episodes": 0},
    }
    yield Path(rl2cli.train(spec, run_dir=tmp_path / "run").run_dir)
    if "changing" in registry.networks.names():
        registry.networks.unregister("changing")
    sys.modules.pop("changing_network", None)


def notes(run: Path) -> list[str]:
    with closing(rl2cli.load_policy(run)) as policy:
        return policy.checkpoint.notes


def test_a_changed_file_is_said(run: Path) -> None:
    assert notes(run) == []
    file = run.parent / "changing_network.py"
    file.write_text(f"{NETWORK}\n# changed\n", encoding="utf-8")
    assert notes(run) == [
        "the file of changing_network:Linear has changed since the run began, so it may act differently"
    ]


@pytest.mark.parametrize("plugins", [None, 3, [4, {"module": 5}], [{"module": "changing_network", "class": "Linear"}]])
def test_a_record_that_says_nothing_is_no_reason_to_warn(run: Path, plugins: object) -> None:
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps({**facts, "plugins": plugins}), encoding="utf-8")
    assert notes(run) == []


def test_a_plugin_that_has_gone_is_named(run: Path) -> None:
    registry.networks.unregister("changing")
    with pytest.raises(UsageError, match="'changing'"):
        rl2cli.load_policy(run)
