"""Whole runs from Python: what they leave, what changes them and what does not, and how they end."""

from __future__ import annotations

import json
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import made_up_parts
import pytest
import small_runs
from small_runs import differences, learned, newest, rows, spec, train

import rl2cli
from rl2cli.errors import EnvironmentFault, NonFiniteError, UsageError

assert made_up_parts  # registers its environments


def test_evaluation_checkpoints_and_logging_change_no_bit(tmp_path: Path) -> None:
    plain = train(tmp_path, spec(), "plain")
    variants: dict[str, dict[str, Any]] = {
        "evaluation": {"evaluation": {"every": 256, "episodes": 3, "stochastic_episodes": 2}},
        "checkpoint": {"checkpoint": {"every": 128, "keep": 1}},
        "logging": {"logging": {"tensorboard": False}},
    }
    expected = learned(plain)
    metrics = [row for row in rows(plain / "metrics.jsonl") if "loss/policy" in row]
    for name, tables in variants.items():
        run = train(tmp_path, spec(**tables), name)
        assert list(differences(expected, learned(run))) == [], name
        assert [row for row in rows(run / "metrics.jsonl") if "loss/policy" in row] == metrics


def test_one_spec_makes_one_run(tmp_path: Path) -> None:
    one, other = (train(tmp_path, spec(total_frames=1024), name) for name in ("one", "other"))
    again = Path(rl2cli.train(one / "resolved.toml", run_dir=tmp_path / "again").run_dir)
    for run in (other, again):
        assert (run / "metrics.jsonl").read_bytes() == (one / "metrics.jsonl").read_bytes()
        assert list(differences(newest(one).state, newest(run).state)) == []
        assert (run / "resolved.toml").read_bytes() == (one / "resolved.toml").read_bytes()


def test_another_seed_makes_another_run(tmp_path: Path) -> None:
    one, other = (
        train(tmp_path, spec(total_frames=256), "one"),
        train(tmp_path, spec(total_frames=256, seed=2), "other"),
    )
    changed = list(differences(learned(one), learned(other)))
    assert any("policy" in path for path in changed)
    assert any("environments" in path for path in changed)
    assert any("generators" in path for path in changed)


def test_what_a_run_leaves(tmp_path: Path) -> None:
    settings = spec(total_frames=1000, seed=7, evaluation={"every": 512, "episodes": 2})
    run = train(tmp_path, settings)
    assert {path.name for path in run.iterdir() if not path.name.startswith(".")} >= {
        *("spec.toml", "resolved.toml", "run.json", "metrics.jsonl", "timings.jsonl", "summary.json"),
        *("checkpoints", "tensorboard"),
    }
    facts = json.loads((run / "run.json").read_text())
    assert {"torch", "numpy", "gymnasium", "safetensors"} <= facts["versions"].keys()
    assert facts["seed"] == 7
    assert facts["command"]
    assert "resumed" not in facts
    assert facts["environment_resume"] == "state"
    plan = {"device": "cpu", "threads": 1, "workers": 0, "precision": "float32", "compile": False, "overlap": False}
    assert facts["plan"] == plan | {"learners": 1}
    plugins = {plugin["class"]: plugin for plugin in facts["plugins"]}
    assert {"PPO", "MLP", "GymnasiumAdapter"} <= plugins.keys()
    assert all(len(plugin["sha256"]) == 64 for plugin in plugins.values())

    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "finished"
    frames = summary["frames"]
    assert 1000 <= frames < 1128  # to the end of the rollout
    assert summary["total_frames"] == 1000
    assert summary["evaluation"]["frames"] == frames
    assert summary["evaluation"]["episodes"] == 2
    assert summary["best"]["checkpoint"].startswith(str(run))

    resolved = tomllib.loads((run / "resolved.toml").read_text())
    assert resolved["threads"] == 1
    assert resolved["env"]["workers"] == 0
    assert resolved["algorithm"]["gamma"] == 0.99
    evaluated = [row["frames"] for row in rows(run / "metrics.jsonl") if "evaluation/mean_return" in row]
    assert 512 <= evaluated[0] < 640
    assert evaluated[1:] in ([frames], [evaluated[1], frames])
    events = [row["event"] for row in rows(run / "timings.jsonl")]
    assert events[0] == "start"
    assert "first_update" in events


def test_progress_is_measured_in_raw_rewards(tmp_path: Path) -> None:
    settings = spec("MadeUpRewards-v0", 512, algorithm={"normalize_reward": True, "normalize_observation": True})
    run = train(tmp_path, settings)
    last = [row for row in rows(run / "metrics.jsonl") if "rollout/return_mean" in row][-1]
    assert last["rollout/return_mean"] == 600.0
    assert last["rollout/length_mean"] == 3.0
    assert last["rollout/episodes"] == 8 * (64 // 3)
    evaluations = [row for row in rows(run / "metrics.jsonl") if "evaluation/mean_return" in row]
    assert all(row["evaluation/mean_return"] == 600.0 for row in evaluations)


def test_a_reached_target_ends_the_run(tmp_path: Path) -> None:
    settings = spec("MadeUpRewards-v0", 4096, evaluation={"every": 256, "target_return": 600.0})
    summary = rl2cli.train(settings, run_dir=tmp_path / "run")
    assert (summary.status, summary.frames) == ("target reached", 256)
    assert newest(tmp_path / "run").frames == 256
    settings = spec("MadeUpRewards-v0", 512, evaluation={"every": 256, "target_return": 600.5})
    assert rl2cli.train(settings, run_dir=tmp_path / "other").status == "finished"


def test_the_newest_and_the_best_checkpoint_are_kept(tmp_path: Path) -> None:
    settings = spec(checkpoint={"every": 128, "keep": 2}, evaluation={"every": 256, "episodes": 5})
    run = train(tmp_path, settings)
    evaluations = {
        row["frames"]: row["evaluation/mean_return"]
        for row in rows(run / "metrics.jsonl")
        if "evaluation/mean_return" in row
    }
    best = json.loads((run / "checkpoints" / "best.json").read_text())["frames"]
    assert evaluations[best] == max(evaluations.values())
    saved = [row["frames"] for row in rows(run / "timings.jsonl") if row["event"] == "checkpoint"]
    assert len(saved) > 10
    assert small_runs.checkpoints(run) == sorted({best, *saved[-2:]})


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("reward", r"environment 0 .*reward.* after 98 frames"),
        ("observation", r"environment 0 .*observation.* after 98 frames"),
        ("final observation", r"environment 0 .*last observation.* after 98 frames"),
    ],
)
def test_a_number_that_is_not_finite_ends_the_run_and_keeps_the_last_checkpoint(
    tmp_path: Path, what: str, message: str
) -> None:
    settings = spec("MadeUpBreaks-v0", 512, 2, env={"kwargs": {"what": what}}, checkpoint={"every": 32})
    with pytest.raises(NonFiniteError, match=message):  # the 50th step of two environments
        train(tmp_path, settings)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"
    assert newest(tmp_path / "run").frames == 96
    assert "failed" in [row["event"] for row in rows(tmp_path / "run" / "timings.jsonl")]
    with closing(rl2cli.load_policy(tmp_path / "run", checkpoint="last")) as policy:
        assert policy([0.0, 0.0]) in (0, 1)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    settings = spec("MadeUpRewards-v0", 512, algorithm={"value_coef": 1e38, "learning_rate": 1e30})
    with pytest.raises(NonFiniteError, match="loss/"):
        train(tmp_path, settings)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"


def test_an_environment_that_raises_is_named(tmp_path: Path) -> None:
    settings = spec("MadeUpBreaks-v0", 512, 2, env={"kwargs": {"what": "exception"}}, checkpoint={"every": 32})
    with pytest.raises(EnvironmentFault, match="environment 0 raised ZeroDivisionError in step: the wheel came off"):
        train(tmp_path, settings)
    assert newest(tmp_path / "run").frames == 96


def test_a_folder_with_a_run_is_refused(tmp_path: Path) -> None:
    run = train(tmp_path, spec(total_frames=128))
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(UsageError, match="already holds a run"):
        train(tmp_path, spec(total_frames=128))
    assert (run / "metrics.jsonl").read_bytes() == before


def test_a_network_that_cannot_take_the_observation_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        train(tmp_path, spec("MadeUpNested-v0", network={"name": "no such network"}))
    assert not (tmp_path / "run").exists()


def test_nested_observations_and_masks_train(tmp_path: Path) -> None:
    # The environment refuses an action that its mask forbids.
    run = train(tmp_path, spec("MadeUpNested-v0", 512, algorithm={"normalize_observation": True}))
    assert rows(run / "metrics.jsonl")[-1]["evaluation/mean_return"] == 4.0


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP", "DISABLED"])
def test_frames_are_counted_without_the_rows_that_only_reset(tmp_path: Path, mode: str) -> None:
    run = train(
        tmp_path, spec(f"MadeUpConstant{mode}-v0", 120, 4, algorithm={"rollout_length": 12, "minibatch_size": 24})
    )
    first = rows(run / "metrics.jsonl")[0]
    # 12 rows of 4 environments whose first episodes have 5, 4, 3 and 2 steps, the others 5. They end at 5, 10; 4, 9;
    # 3, 8; 2, 7, 12; with next-step resets, which take a row each, at 5, 11; 4, 10; 3, 9; 2, 8
    assert first["frames"] == (48 - 8 if mode == "NEXT_STEP" else 48)
    assert first["rollout/episodes"] == (8 if mode == "NEXT_STEP" else 9)
