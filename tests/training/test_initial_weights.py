"""`[init] from`: a run that starts from another run's weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch

import rl2cli
from rl2cli.errors import NoCheckpointError, UsageError
from rl2cli.spec import SpecError, dump_spec, load_spec, load_spec_dict, load_spec_text, spec_from_dict, spec_to_dict

NORMALISED = {"normalize_observation": True, "normalize_reward": True}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = small_runs.spec(total_frames=256, algorithm=NORMALISED)
    return small_runs.train(tmp_path_factory.mktemp("source"), settings)


def settings(source: Path, **tables: Any) -> dict[str, Any]:
    """Return a run that takes one iteration with a step that changes nothing."""
    algorithm = {**NORMALISED, "learning_rate": 1e-30, **tables.pop("algorithm", {})}
    return small_runs.spec(total_frames=128, init={"from": str(source)}, algorithm=algorithm, **tables)


def algorithm_of(run: Path) -> dict[str, Any]:
    return dict(small_runs.newest(run).state["algorithm"])


def test_weights_and_statistics_are_taken_over_and_nothing_else(source: Path, tmp_path: Path) -> None:
    run = small_runs.train(tmp_path, settings(source, seed=7))
    before, after = algorithm_of(source), algorithm_of(run)
    for name in before:
        if name.split(".")[0] in ("policy", "critic", "policy_head", "value_head", "log_std"):
            assert torch.equal(before[name], after[name]), name
    rows = after["normalizer.moments.count"] - before["normalizer.moments.count"]
    assert 0 < rows <= 256  # of one or two rollouts, as resets are no frames
    assert 0 < after["reward_normalizer.moments.count"] - before["reward_normalizer.moments.count"] <= rows
    assert after["optimizer.step_count"] < before["optimizer.step_count"]


def test_what_was_taken_is_recorded_and_said(source: Path, tmp_path: Path) -> None:
    run = small_runs.train(tmp_path, settings(source))
    frames = small_runs.checkpoints(source)[-1]
    resolved = load_spec(run / "resolved.toml").spec
    assert resolved.init is not None
    assert (resolved.init.from_, resolved.init.checkpoint) == (str(source.resolve()), frames)
    choices = json.loads((run / "run.json").read_text())["choices"]
    assert any(text.startswith(f"starts from {source.resolve()} at {frames} frames: ") for text in choices)
    again = Path(rl2cli.train(run / "resolved.toml", run_dir=tmp_path / "again").run_dir)
    assert list(small_runs.differences(algorithm_of(run), algorithm_of(again))) == []


def test_resume_does_not_start_over(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = source.rename(source.parent / "elsewhere")
    try:
        run = small_runs.train(tmp_path, settings(moved))
    finally:
        moved.rename(source)
    from rl2cli.reporting.view import make_view
    from rl2cli.training.session import resume

    summary = resume(str(run), view=make_view("quiet"), total_frames=256)  # the run it is from has gone
    assert summary.frames >= 256


def test_what_does_not_fit_is_named(source: Path, tmp_path: Path) -> None:
    run = small_runs.train(tmp_path, settings(source, env={"id": "Acrobot-v1"}))
    before, after = algorithm_of(source), algorithm_of(run)
    assert torch.equal(before["value_head.weight"], after["value_head.weight"])
    assert before["policy.layers.0.weight"].shape != after["policy.layers.0.weight"].shape
    assert after["normalizer.moments.count"] == 128  # the statistics of other observations stay out
    said = (run / "log.txt").read_text()
    assert "not taken over from that run: policy.layers.0.weight (16×4 there, 16×6 here)" in said


def test_nothing_that_fits_is_an_error(source: Path, tmp_path: Path) -> None:
    spec = small_runs.spec(total_frames=128, init={"from": str(source)}, env={"id": "CartPole-v1"})
    spec["algorithm"], spec["network"] = {"name": "dqn"}, {"hidden_sizes": [7]}
    with pytest.raises(UsageError, match=r"nothing of that run fits: .*not in that run") as caught:
        rl2cli.train(spec, run_dir=tmp_path / "run")
    assert "init.from" in str(getattr(caught.value, "problems", [caught.value.place])[0])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("checkpoint", [7, "best"])
def test_a_run_or_checkpoint_that_is_not_there(checkpoint: Any, source: Path, tmp_path: Path) -> None:
    spec = settings(source if checkpoint == 7 else tmp_path / "no\x1b[31mwhere[bold]")
    spec["init"]["checkpoint"] = checkpoint
    expected = NoCheckpointError if checkpoint == 7 else UsageError
    with pytest.raises(expected, match=r"frame 7|there is no such run folder"):
        rl2cli.train(spec, run_dir=tmp_path / "run")


def test_a_spec_with_init_reads_as_it_was_written(source: Path) -> None:
    text = 'total_frames = 10_000\nenv.id = "CartPole-v1"\n[init]\nfrom = "outputs/cartpole"\ncheckpoint = 500\n'
    spec = load_spec_text(text).spec
    assert load_spec_text(dump_spec(spec)).spec == spec == spec_from_dict(spec_to_dict(spec))
    assert spec_to_dict(spec)["init"] == {"from": "outputs/cartpole", "checkpoint": 500}
    changed = load_spec_dict({"total_frames": 10_000, "env": {"id": "CartPole-v1"}}, ['init.from="outputs/x"']).spec
    assert changed.init is not None
    assert (changed.init.from_, changed.init.checkpoint) == ("outputs/x", "best")


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ({}, "'init.from' is missing"),
        ({"from": "x", "checkpoint": "newest"}, "expected"),
        ({"form": "x"}, "unknown key 'form'"),
    ],
)
def test_what_is_wrong_with_init_is_said(init: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_spec_dict({"total_frames": 10_000, "env": {"id": "CartPole-v1"}, "init": init})
