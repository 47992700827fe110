"""Which run a folder holds, and whether a spec means it: every key that matters is named, the others are free."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_runs import spec

from rl2cli.envs.gymnasium_adapter import GymnasiumAdapter
from rl2cli.envs.gymnasium_options import GymnasiumOptions
from rl2cli.errors import UsageError
from rl2cli.spec import load_spec_dict
from rl2cli.spec.model import RunSpec
from rl2cli.training.repeated import continued, differences, standing
from rl2cli.training.run_folder import RunFolder

SHARDED = {"engine": "local", "envs_per_worker": 4, "lag": 0}


def made(**tables: Any) -> RunSpec:
    return load_spec_dict(spec(**tables)).spec


def explicit(begun: RunSpec) -> RunSpec:
    """Return a spec with every automatic choice made, as a run's own."""
    chosen = {"device": "cpu", "threads": 1, "compile": False, "precision": "float32", "overlap": False}
    return begun.model_copy(update={**chosen, "env": begun.env.model_copy(update={"workers": 0})})


@pytest.mark.parametrize(
    ("tables", "keys"),
    [
        ({}, []),
        ({"threads": "auto", "overlap": "auto", "env": {"workers": "auto"}}, []),
        ({"checkpoint": {"every": 7, "keep": 1}, "logging": {"tensorboard": False}}, []),
        ({"env": {"timeout": 5.0, "max_restarts": 0}}, []),
        ({"seed": 2, "threads": 2}, ["seed", "threads"]),
        ({"env": {"kwargs": {"sutton_barto_reward": True}}}, ["env.kwargs.sutton_barto_reward"]),
        ({"env": {"max_episode_steps": 9}}, ["env.max_episode_steps"]),
        ({"algorithm": {"gamma": 0.5}, "evaluation": {"episodes": 3}}, ["evaluation", "algorithm.gamma"]),
        ({"critic_network": {"hidden_sizes": [8]}}, ["critic_network"]),
        ({"scale": SHARDED}, ["scale"]),
        ({"scale": {"gradient_shards": 2}}, ["scale"]),
        ({"init": {"from": "outputs/other"}}, ["init.from"]),
    ],
)
def test_the_keys_that_make_another_run(tables: dict[str, Any], keys: list[str]) -> None:
    found = [key for key, _ in differences(made(**tables), explicit(made()))]
    assert {key if key in keys else key.partition(".")[0] for key in found} == set(keys)


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ({"engine": "ray", "workers": 9, "address": "head:6379", "resources": {"GPU": 1.0}, "lost_after": 2.0}, []),
        ({"envs_per_worker": 2, "lag": 1}, ["scale.envs_per_worker", "scale.lag"]),
        ({"gradient_shards": 2, "deterministic": False}, ["scale.deterministic", "scale.gradient_shards"]),
    ],
)
def test_workers_decide_nothing_and_shards_do(asked: dict[str, Any], keys: list[str]) -> None:
    begun = explicit(made(scale=SHARDED))
    assert sorted(key for key, _ in differences(made(scale={**SHARDED, **asked}), begun)) == keys


def test_what_decides_nothing_is_that_of_the_command(tmp_path: Path) -> None:
    begun = explicit(made(scale={**SHARDED, "engine": "ray", "workers": 2, "address": "old:1"}))
    asked = made(
        scale={**SHARDED, "engine": "ray", "workers": 8, "address": "new:2"},
        checkpoint={"every": 99},
        env={"timeout": 9.0, "workers": "auto"},
        threads="auto",
        device="auto",
    )
    spec = continued(asked, begun, tmp_path)
    assert spec.scale is not None
    assert (spec.scale.workers, spec.scale.address, spec.checkpoint.every, spec.env.timeout) == (8, "new:2", 99, 9.0)
    assert (spec.threads, spec.device, spec.env.workers, spec.env.options) == (1, "cpu", 0, begun.env.options)
    assert continued(asked.model_copy(update={"device": "cuda"}), begun, tmp_path).device == "cuda"


def test_a_run_of_torchrun_goes_on_without_it(tmp_path: Path) -> None:
    begun = explicit(made(scale={"gradient_shards": 4}))
    assert continued(made(), begun, tmp_path).scale == begun.scale
    with pytest.raises(UsageError, match=r"scale\.gradient_shards is 2 there and 4 here"):
        continued(made(), explicit(made(scale={"gradient_shards": 2})), tmp_path)


def test_what_a_backend_chooses_for_itself_is_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, asked = made(env={"max_episode_steps": 77}), made()
    with pytest.raises(UsageError, match=r"env\.max_episode_steps is 77 there and left out here"):
        continued(asked, begun, tmp_path)

    def settle(options: GymnasiumOptions) -> tuple[GymnasiumOptions, list[str]]:
        return options.model_copy(update={"max_episode_steps": 77}), ["77 steps"]

    monkeypatch.setattr(GymnasiumAdapter, "settle", settle)
    assert continued(asked, begun, tmp_path).env.options == begun.env.options


@pytest.mark.parametrize(
    ("where", "checkpoint", "same"),
    [
        ("outputs/lander", "best", True),
        ("outputs/lander/1", 64, True),
        ("lander", "best", True),
        ("latest", "best", True),
        ("outputs/lander/1/checkpoints/000000000000064", "best", True),
        ("outputs/lander/1", 128, False),
        ("outputs/other", "best", False),
    ],
)
def test_the_run_that_first_weights_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, checkpoint: object, same: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    begun = made(init={"from": str(tmp_path.resolve() / "outputs" / "lander" / "1"), "checkpoint": 64})
    asked = made(init={"from": where, "checkpoint": checkpoint})
    assert [key for key, _ in differences(asked, begun)] == ([] if same else ["init.from"])


def test_many_keys_are_counted_and_a_longer_run_is_told_how(tmp_path: Path) -> None:
    asked = made(total_frames=4096, seed=3, num_envs=4, algorithm={"gamma": 0.1, "epochs": 9}, name="x" * 60)
    with pytest.raises(UsageError) as caught:
        continued(asked, made(), tmp_path)
    assert "name is " in caught.value.message
    assert "and 2 more differ" in caught.value.message
    assert caught.value.hint is not None
    assert f"rl2 resume {tmp_path} --frames 4096" in caught.value.hint


def test_what_a_folder_holds(tmp_path: Path) -> None:
    assert standing(tmp_path / "none") == standing(tmp_path) == "new"
    folder = RunFolder(tmp_path)
    folder.resolved.write_text("")
    assert standing(tmp_path) == "begun"
    (folder.checkpoints / "segments").mkdir(parents=True)
    (folder.checkpoints / ".saving-000000000000064").mkdir()
    folder.summary.write_text(json.dumps({"status": "failed"}))
    assert standing(tmp_path) == "begun"
    damaged = folder.checkpoints / "damaged-000000000000064-1"
    damaged.mkdir()
    assert standing(tmp_path) == "saved"  # it is not for this to throw away
    damaged.rename(folder.checkpoints / ".superseded-000000000000064")
    assert standing(tmp_path) == "saved"
    folder.summary.write_text(json.dumps({"status": "target reached"}))
    assert standing(tmp_path) == "ended"
    folder.summary.write_text(json.dumps({"status": "finished", "unsaved": "the disk is full"}))
    assert standing(tmp_path) == "saved"
    folder.summary.write_text(json.dumps({"status": "finished"}))
    (tmp_path / ".lock-holder").write_text('{"pid": 1}')  # resumed since, and killed
    assert standing(tmp_path) == "saved"
