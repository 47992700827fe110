"""The digest of a run: what changes it, which part it names, and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import made_up_parts
import pytest
import torch
from remembering import registered
from small_runs import newest, spec, train

from rl2cli.errors import NoCheckpointError
from rl2cli.training.digest import Digest, digest_of

assert made_up_parts  # registers its environments

DQN = {"name": "dqn", "buffer_size": 100, "learning_starts": 20, "batch_size": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a replay buffer; nothing may change it."""
    return train(tmp_path_factory.mktemp("digest"), {**spec(total_frames=256, num_envs=4), "algorithm": DQN})


def _digest(run: Path) -> Digest:
    return digest_of(newest(run), run / "metrics.jsonl")


def test_folder_and_clock_do_not_matter(run: Path, tmp_path: Path) -> None:
    again = train(tmp_path, {**spec(total_frames=256, num_envs=4), "algorithm": DQN}, "other")
    assert _digest(again) == _digest(run)
    assert _digest(shutil.copytree(run, tmp_path / "copy")).whole == _digest(run).whole


def test_another_seed_is_another_run(run: Path, tmp_path: Path) -> None:
    other = train(tmp_path, {**spec(total_frames=256, num_envs=4), "algorithm": DQN, "seed": 2})
    differing = {name for name, part in _digest(other).parts.items() if part != _digest(run).parts[name]}
    assert {"weights", "optimiser", "generators", "environments", "episodes", "replay", "metrics"} <= differing


def _flip(tensor: torch.Tensor) -> None:
    tensor.reshape(-1)[:1] += 1


CHANGES: dict[str, Any] = {
    "weights": lambda state: _flip(state["algorithm"]["values.head.bias"]),
    "optimiser": lambda state: _flip(state["algorithm"]["optimizer.first_moment"]),
    "generators": lambda state: _flip(state["collector"]["explore"]),
    "environments": lambda state: _flip(state["collector"]["next_is_init"].view(torch.uint8)),
    "episodes": lambda state: state["episodes"].update(count=-1),
    "counters": lambda state: state.update(iteration=-1),
    "evaluations": lambda state: state.update(evaluations=-1),
    "videos": lambda state: state.update(filmed_up_to=7),
    "algorithm": lambda state: state["algorithm"]["learner._extra_state"].update(updates=-1),
    "replay": lambda state: state["algorithm"]["learner._extra_state"]["buffer"]["is_open"].fill(False),
}


@pytest.mark.parametrize("part", CHANGES)
def test_a_change_is_named(run: Path, part: str) -> None:
    before, checkpoint = _digest(run), newest(run)
    CHANGES[part](checkpoint.state)
    after = digest_of(checkpoint, run / "metrics.jsonl")
    assert after.whole != before.whole
    assert [name for name, value in after.parts.items() if value != before.parts[name]] == [part]


def test_the_record_counts_as_far_as_the_checkpoint_goes(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    metrics = copy / "metrics.jsonl"
    content = metrics.read_bytes()
    metrics.write_bytes(content + b'{"frames": 9999}\n')  # a killed process may have written on
    assert _digest(copy) == _digest(run)
    metrics.write_bytes(content.replace(b"1", b"2", 1))
    assert _digest(copy).whole != _digest(run).whole
    metrics.unlink()
    assert _digest(copy).whole != _digest(run).whole


def test_a_plugins_own_segments_count(tmp_path: Path) -> None:
    with registered():
        settings = {**spec("MadeUpConstant-v0", 64, 1), "algorithm": {"name": "remembering"}}
        one, other = train(tmp_path, settings, "one"), train(tmp_path, {**settings, "total_frames": 72}, "other")
    assert _digest(one).parts["replay"] != _digest(other).parts["replay"]


def test_a_state_that_is_none_is_refused(run: Path) -> None:
    checkpoint = newest(run)
    checkpoint.segments[0].tensors = {"start": torch.zeros(1)}
    with pytest.raises(NoCheckpointError, match="none that rl2 wrote"):
        digest_of(checkpoint, run / "metrics.jsonl")
