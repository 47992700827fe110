"""Runs of several learners, started by torchrun: equal bits, and what is left when one of them ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import learner_processes
import psutil
import pytest
import torch
from learner_processes import digest, run, write_spec
from small_runs import checkpoints, newest, spec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills processes by signals"),
]

PPO: dict[str, Any] = {"total_frames": 1024, "num_envs": 4}
SAC = {"name": "sac", "learning_starts": 60, "batch_size": 16}
DQN = {"name": "dqn", "learning_starts": 60, "batch_size": 30, "prioritized": True, "target_update_every": 10}


def replaying(env_id: str, algorithm: dict[str, Any], **tables: Any) -> dict[str, Any]:
    settings = spec(env_id, 160, 2, **tables)
    return {**settings, "algorithm": algorithm}


RUNS = {
    "ppo": spec(**PPO, algorithm={"normalize_observation": True}),
    "sac": replaying("Pendulum-v1", SAC),
    "dqn": replaying("CartPole-v1", DQN),
}


@pytest.mark.parametrize("name", RUNS)
def test_weights_are_equal_for_one_two_and_four_learners(name: str, tmp_path: Path) -> None:
    settings = RUNS[name] | {"name": name, "scale": {"gradient_shards": 4}}
    file = write_spec(tmp_path, settings)
    for count in (0, 1, 2, 4):
        ended = run(count, tmp_path, "train", file, "--run-dir", f"run-{count}", "-q")
        assert ended.returncode == 0, ended.stderr
    alone = digest(tmp_path / "run-0")
    assert alone.frames >= settings["total_frames"]
    for count in (1, 2, 4):
        assert digest(tmp_path / f"run-{count}") == alone, count


def _weights(run_dir: Path) -> torch.Tensor:
    state = newest(run_dir).state["algorithm"]
    moments = ("optimizer", "normalizer")
    return torch.cat([value.flatten() for key, value in sorted(state.items()) if _is_weight(key, value, moments)])


def _is_weight(key: str, value: object, others: tuple[str, ...]) -> bool:
    return isinstance(value, torch.Tensor) and not any(other in key for other in others)


def test_averaged_gradients_are_near(tmp_path: Path) -> None:
    settings = spec(total_frames=128, num_envs=4, algorithm={"rollout_length": 32})
    plain = write_spec(tmp_path, settings)
    averaged = write_spec(tmp_path, settings | {"name": "averaged", "scale": {"deterministic": False}})
    for count, file in ((0, plain), (2, averaged)):
        ended = run(count, tmp_path, "train", file, "--run-dir", f"run-{count}", "-q")
        assert ended.returncode == 0, ended.stderr
    one, two = _weights(tmp_path / "run-0"), _weights(tmp_path / "run-2")
    assert one.numel() > 100
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)


def _started(folder: Path, file: str, *words: str) -> subprocess.Popen[str]:
    """Start two learners and return torchrun once there are two checkpoints."""
    command = learner_processes.torchrun(2, "-m", "rl2cli", "train", file, "--run-dir", "run", "-q", *words)
    process = subprocess.Popen(
        command,
        env=learner_processes.environment(),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 120.0
    saved = folder / "run" / "checkpoints"
    while not (saved.is_dir() and len(checkpoints(folder / "run")) >= 2):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


LONG = {"total_frames": 40_000, "num_envs": 4, "checkpoint": {"every": 1000}, "scale": {"gradient_shards": 4}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The digest of a long run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    ended = run(0, folder, "train", write_spec(folder, spec(**LONG)), "--run-dir", "run", "-q")
    assert ended.returncode == 0, ended.stderr
    return digest(folder / "run")


@pytest.mark.parametrize(("rank", "count"), [(1, 4), (0, 0)])
def test_a_killed_learner_ends_all_and_the_run_goes_on_with_another_number(
    rank: int, count: int, tmp_path: Path, whole: Any
) -> None:
    process = _started(tmp_path, write_spec(tmp_path, spec(**LONG)))
    (victim,) = [child for child in psutil.Process(process.pid).children() if child.environ().get("RANK") == str(rank)]
    victim.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"error: learner {rank} (process {victim.pid} on " in said or "stopped by SIGTERM and saved" in said
    assert "Traceback" not in said.partition("failed (exitcode")[0]  # torchrun's own report comes behind
    ended = run(count, tmp_path, "resume", "run", "-q")
    assert ended.returncode == 0, ended.stderr
    assert digest(tmp_path / "run") == whole


def test_a_signal_to_torchrun_saves(tmp_path: Path, whole: Any) -> None:
    process = _started(tmp_path, write_spec(tmp_path, spec(**LONG)))
    learners = psutil.Process(process.pid).children()
    for learner in learners:  # as a scheduler does, which signals every process; torchrun then signals them again
        os.kill(learner.pid, signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert "stopped by SIGTERM and saved after" in said
    assert not any(learner.is_running() for learner in learners)
    ended = run(2, tmp_path, "resume", "run", "-q")
    assert ended.returncode == 0, ended.stderr
    assert digest(tmp_path / "run") == whole


def test_the_same_command_goes_on_and_then_ends_every_learner(tmp_path: Path, whole: Any) -> None:
    process = _started(tmp_path, write_spec(tmp_path, spec(**LONG)), "--resume")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert "stopped by SIGTERM and saved after" in said
    for count, words in ((4, "resumed"), (2, "has ended already")):
        ended = run(count, tmp_path, "train", "small.toml", "--run-dir", "run", "--resume")
        assert (ended.returncode, ended.stdout) == (0, "run\n"), ended.stderr
        assert words in ended.stderr
        assert digest(tmp_path / "run") == whole


@pytest.mark.parametrize(("name", "count"), [("sac", 4), ("dqn", 1)])
def test_a_replay_buffer_goes_to_other_learners_on_resume(name: str, count: int, tmp_path: Path) -> None:
    settings = RUNS[name] | {"name": name, "scale": {"gradient_shards": 4}, "checkpoint": {"every": 40}}
    file = write_spec(tmp_path, settings)
    for words in (("train", file, "--run-dir", "run"), ("resume", "run", "--frames", "300")):
        learners = 2 if words[0] == "train" else count
        ended = run(learners, tmp_path, *words, "-q")
        assert ended.returncode == 0, ended.stderr
    for words in (("train", file, "--run-dir", "alone"), ("resume", "alone", "--frames", "300")):
        assert run(0, tmp_path, *words, "-q").returncode == 0
    assert digest(tmp_path / "run") == digest(tmp_path / "alone")


def test_what_cannot_be_is_said_once(tmp_path: Path) -> None:
    file = write_spec(tmp_path, spec(**PPO))
    three = run(3, tmp_path, "train", file, "--run-dir", "run")
    assert three.returncode == 1  # torchrun's, whatever the learners' is
    assert three.stderr.count("error: 3 learners cannot share 4 gradient shards evenly") == 1
    assert not (tmp_path / "run").exists()
    assert run(0, tmp_path, "train", file, "--run-dir", "run", "-q").returncode == 0
    held = run(2, tmp_path, "train", file, "--run-dir", "run")
    assert held.stderr.count("error: this folder already holds a run") == 1
    begun_alone = run(2, tmp_path, "resume", "run", "--frames", "2048")
    assert begun_alone.stderr.count("error: this run was begun for one learner") == 1
