"""The shipped CartPole spec solves CartPole."""

from __future__ import annotations

from pathlib import Path

import pytest

import rl2cli


@pytest.mark.slow
def test_the_shipped_spec_reaches_475(tmp_path: Path) -> None:
    summary = rl2cli.train("runs/cartpole.toml", overrides=["seed=1"], run_dir=tmp_path / "run")
    assert summary.status == "target reached"
    assert summary.evaluation is not None
    assert summary.evaluation.mean_return >= 475.0
    assert summary.evaluation.episodes >= 20
