"""Shipped specs, one of each algorithm, reach what their headers say."""

from __future__ import annotations

from pathlib import Path

import pytest

import rl2cli


@pytest.mark.slow
@pytest.mark.parametrize(("name", "target"), [("cartpole", 475.0), ("pendulum", -200.0), ("cartpole-dqn", 475.0)])
def test_a_shipped_spec_reaches_its_target(tmp_path: Path, name: str, target: float) -> None:
    summary = rl2cli.train(f"runs/{name}.toml", overrides=["seed=1"], run_dir=tmp_path / "run")
    assert summary.status == "target reached"
    assert summary.evaluation is not None
    assert summary.evaluation.mean_return >= target
    assert summary.evaluation.episodes >= 20
