"""Runs and a peer that were never started."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from unittest.mock import MagicMock

import pytest

from rl2cli.benchmarks.own import TrainRun
from rl2cli.benchmarks.peer import SCRIPT
from rl2cli.benchmarks.processes import Ended

ONE, TWO = "SB3, 1 thread", "SB3, 2 threads"


def run_of(*evaluations: tuple[float, int, float], rate: float = 300.0) -> TrainRun:
    rows: list[dict[str, object]] = [{"event": "first_update", "time": 101.0}]
    rows += [
        {"event": "evaluation", "time": 100.0 + seconds, "frames": frames, "mean_return": mean, "episodes": 20}
        for seconds, frames, mean in evaluations
    ]
    return TrainRun(Ended(100.0, 9.0, "", None, None), {"frames_per_second": rate}, rows)


def peer_script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the peers' script, whose imports are not installed here."""
    names = ["", ".common", ".common.base_class", ".common.env_util", ".common.evaluation", ".common.vec_env"]
    for name in names:
        monkeypatch.setitem(sys.modules, f"stable_baselines3{name}", MagicMock())
    spec = importlib.util.spec_from_file_location("sb3_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sb3_script", module)
    spec.loader.exec_module(module)
    return module
