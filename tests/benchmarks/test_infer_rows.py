"""The rows of `rl2 infer` without a real measurement, and the environment's own speed, measured briefly."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl2cli.benchmarks import infer_rows, own
from rl2cli.benchmarks.bench import Bench
from rl2cli.benchmarks.comparison import OURS
from rl2cli.benchmarks.rows import measure


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(own, "train_into", lambda run_dir, spec, seed: run_dir.mkdir())

    def infer(run_dir: Path, *arguments: str) -> tuple[float, dict[str, float]]:
        assert run_dir.is_dir()  # it is still there while it is measured
        return 3.0, {"frames_per_second": 300.0 * int(arguments[1])}

    monkeypatch.setattr(own, "infer", infer)
    return Bench(tmp_path, None, lambda line: None, repeats=2)


def test_speed_is_compared_with_the_environments_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infer_rows, "stepping_rate", lambda env_id, num_envs, steps: 500_000.0)
    (found,) = measure(bench, "infer-cartpole")
    assert dict(found.samples) == {OURS: [300_000.0] * 2, infer_rows.ALONE: [500_000.0] * 2}
    assert (found.ratio, found.verdict) == (0.6, "must met")


def test_the_start_is_of_one_episode(bench: Bench) -> None:
    (found,) = measure(bench, "infer-start")
    assert (dict(found.samples), found.verdict) == ({OURS: [3.0] * 2}, "must met")


def test_the_environments_own_speed_is_measured() -> None:
    assert infer_rows.stepping_rate("CartPole-v1", 4, 20) > 0
