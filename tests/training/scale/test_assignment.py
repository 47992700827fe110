"""What a worker is told, and why it may not be used."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sharded_runs

from rl2cli.registry import networks
from rl2cli.spec import load_spec_dict
from rl2cli.training.scale.assignment import Assignment, Plugin, assignment_of, problem_here, spec_here

NETWORK = '''
from rl2cli.networks.mlp import MLP
class Mine(MLP):
    """A stranger's."""
'''


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Register a network of a file in a folder, as this process's own code would."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "strangers_network.py"
    file.write_text(NETWORK)
    networks.register("mine", "strangers_network:Mine")
    yield file
    networks.unregister("mine")
    sys.modules.pop("strangers_network", None)


def _assignment(network: str = "mlp") -> Assignment:
    settings = sharded_runs.spec()
    return assignment_of(load_spec_dict({**settings, "network": {"name": network}}).spec)


def _elsewhere() -> None:
    """Forget what this process knows of the plugin, as if it were a worker's."""
    networks.unregister("mine")
    sys.modules.pop("strangers_network", None)


def test_a_process_like_the_learners_can_be_used() -> None:
    assignment = _assignment()
    assert problem_here(assignment) is None
    assert assignment.plugins == ()
    assert spec_here(assignment) == load_spec_dict(sharded_runs.spec(network={"hidden_sizes": [64, 64]})).spec


def test_other_versions_are_named_with_those_of_the_learner() -> None:
    assignment = _assignment()
    versions = {**assignment.versions, "rl2cli": "9.9"}
    problem = problem_here(replace(assignment, versions={**versions, "mujoco": "3.0"}))
    assert problem is not None
    assert "rl2cli 0" in problem
    assert "instead of 9.9" in problem
    assert "mujoco" in problem


def test_other_code_of_the_same_version_is_said() -> None:
    assert "other code" in str(problem_here(replace(_assignment(), code="other")))


def test_a_plugin_is_registered_by_name_and_told_from_another_by_its_file(stranger: Path) -> None:
    assignment = _assignment("mine")
    (plugin,) = assignment.plugins
    assert (plugin.kind, plugin.name, plugin.target) == ("network", "mine", "strangers_network:Mine")
    _elsewhere()
    assert problem_here(assignment) is None
    assert spec_here(assignment).network.name == "mine"
    _elsewhere()
    stranger.write_text(NETWORK + "# changed\n")
    assert "its file of strangers_network:Mine differs from the learner's" in str(problem_here(assignment))


def test_a_plugin_that_is_missing_is_said(stranger: Path) -> None:
    assignment = _assignment("mine")
    _elsewhere()
    os.remove(stranger)
    problem = str(problem_here(assignment))
    assert "network 'mine': module 'strangers_network' not found" in problem
    assert "put its file, or install its package, where it is on the learner's machine" in problem


def test_a_plugin_is_found_in_the_folder_that_it_was_registered_with(
    stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assignment = _assignment("mine")
    _elsewhere()
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(stranger.parent)])
    (plugin,) = assignment.plugins
    assert "not found" in str(problem_here(assignment))
    there: Plugin = replace(plugin, folder=str(stranger.parent))
    assert problem_here(replace(assignment, plugins=(there,))) is None
