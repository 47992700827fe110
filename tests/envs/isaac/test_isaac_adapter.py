"""The `isaac` backend on a tiny fake of Isaac Lab; `test_isaac_lab.py` has the real one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from contract import Make, assert_contract
from gymnasium import spaces

import rl2cli
from rl2cli.envs import make
from rl2cli.envs.apart import Apart
from rl2cli.envs.isaac import assets, installation
from rl2cli.envs.isaac.adapter import IsaacAdapter
from rl2cli.errors import EnvironmentFault, MissingDependencyError, UsageError
from rl2cli.reporting.view import make_view
from rl2cli.training.session import resume

FAKE = Path(__file__).parent / "fake"
MODULES = {path.stem for path in FAKE.iterdir()}


@pytest.fixture
def fake_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Put the fake Isaac Lab in the place of the real one, here and in child processes; return an asset root."""
    root = tmp_path / "assets"
    root.mkdir()
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", str(FAKE), prepend=":")
    monkeypatch.setenv(assets.VARIABLE, str(root))
    monkeypatch.setattr(installation, "lab_version", lambda: "3.0.0")
    monkeypatch.setattr(make, "_made", type(make._made)())
    before = dict(gymnasium.registry)
    _forget()
    yield root
    _forget()
    for name in gymnasium.registry.keys() - before.keys():
        del gymnasium.registry[name]


@pytest.fixture
def isaac(fake_lab: Path) -> Iterator[Make]:
    """Make environments of the fake; closed after the test."""
    with ExitStack() as stack:

        def made(task: str = "Isaac-Point", num_envs: int = 3, render_mode: str | None = None, **options: Any) -> Any:
            table = {"backend": "isaac", "id": task, "num_envs": num_envs, **options}
            return stack.enter_context(closing(make.make_env_adapter(table, render_mode=render_mode)))

        yield made


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in MODULES]:
        del sys.modules[name]
    importlib.invalidate_caches()


def test_contract(isaac: Make) -> None:
    env = isaac(num_envs=4)
    assert env.observation_space == spaces.Box(-np.inf, np.inf, (2,), np.float32)
    assert (env.render_fps, env.frame_skip, env.resume) == (50.0, 2, "none")
    seen = assert_contract(env, 60, bounds=1.1)
    assert seen["truncated"] > 4
    assert seen["terminated"] > 0


def test_the_contract_would_see_buffers_that_are_used_again(isaac: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2cli.envs.isaac.adapter._copied", lambda value: value)
    with pytest.raises(AssertionError):
        assert_contract(isaac(num_envs=4), 60, bounds=1.1)


def test_a_finite_horizon_is_an_end_of_the_task(isaac: Make) -> None:
    env = isaac(config={"is_finite_horizon": True, "episode_length_s": 0.1})
    env.reset(np.arange(3))
    steps = [env.step(torch.zeros(3, 1)) for _ in range(5)]
    assert steps[-1].terminated.all()
    assert not steps[-1].truncated.any()


def test_the_policy_does_not_see_what_is_for_the_critic(isaac: Make) -> None:
    env = isaac("Isaac-Point-Privileged")
    assert isinstance(env.observation_space, spaces.Dict)
    assert env.critic_only == ("critic",)
    observation, _ = env.reset(np.arange(3))
    assert isinstance(observation, dict)
    assert {key: tuple(part.shape) for key, part in observation.items()} == {"critic": (3, 3), "policy": (3, 2)}


def test_what_the_task_logs_is_averaged(isaac: Make) -> None:
    env = isaac(config={"episode_length_s": 0.04})
    env.reset(np.arange(3))
    for _ in range(4):
        env.step(torch.zeros(3, 1))
    assert env.take_metrics() == {"environment/Metrics/age": 2.0}
    assert env.take_metrics() == {}


def test_actions_are_cut_where_that_is_asked_for(isaac: Make) -> None:
    env = isaac(clip_actions=0.5)
    assert env.action_space == spaces.Box(-0.5, 0.5, (1,), np.float32)
    env.reset(np.arange(3))
    far, near = (env.step(torch.full((3, 1), size)).observation for size in (9.0, 0.5))
    assert isinstance(far, torch.Tensor)
    assert isinstance(near, torch.Tensor)
    torch.testing.assert_close(near[:, 0] - far[:, 0], torch.full((3,), 0.05))


def test_the_camera_beside_the_robot(isaac: Make) -> None:
    env = isaac(num_envs=1, render_mode="rgb_array")
    env.reset(np.arange(1))
    picture = env.render()
    assert (picture.shape, picture.dtype, picture.max()) == ((360, 480, 3), np.uint8, 7)


@pytest.mark.slow
def test_further_instances_live_in_processes_of_their_own(isaac: Make) -> None:
    here, there = (isaac("Isaac-Point-Privileged", num_envs=2) for _ in range(2))
    assert isinstance(here, IsaacAdapter)
    assert isinstance(there, Apart)
    for env in (here, there):
        env.reset(np.array([3, 4]))
    for _ in range(25):
        one, other = (env.step(torch.ones(2, 1)) for env in (here, there))
        for key in ("critic", "policy"):
            torch.testing.assert_close(one.observation[key], other.observation[key], rtol=0, atol=0)
        assert (one.final_observation is None) == (other.final_observation is None)
    assert (there.observation_space, there.critic_only) == (here.observation_space, here.critic_only)
    assert here.process_cost is None
    assert there.process_cost is not None
    assert there.process_cost[1] > 1e7


@pytest.mark.slow
def test_a_process_of_its_own_that_cannot_start_says_why(isaac: Make) -> None:
    isaac()
    with pytest.raises(UsageError, match=r"Isaac Lab has no task 'Isaac-Pint'"):
        isaac("Isaac-Pint")


def _spec(total_frames: int, **tables: object) -> dict[str, object]:
    return {
        "name": "point",
        "total_frames": total_frames,
        "env": {"backend": "isaac", "id": "Isaac-Point-Privileged", "num_envs": 8},
        "network": {"hidden_sizes": [4]},
        "algorithm": {"rollout_length": 32, "minibatch_size": 64, "epochs": 1},
        "evaluation": {"every": 256, "episodes": 4, "stochastic_episodes": 0},
        **tables,
    }


@pytest.mark.slow
def test_a_run_evaluates_and_films_in_other_processes(isaac: Make, tmp_path: Path) -> None:
    summary = rl2cli.train(_spec(512, video={"at": [0.5, 1.0], "max_steps": 3}), run_dir=tmp_path / "run")
    assert summary.status == "finished"
    assert summary.evaluation is not None
    assert len(list((tmp_path / "run" / "videos").glob("*.mp4"))) == 2
    assert "environment/Metrics/age" in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert 'physics = "ovphysx"' in (tmp_path / "run" / "resolved.toml").read_text()
    assert "evaluations have a process of their own: " in (tmp_path / "run" / "timings.jsonl").read_text()


@pytest.mark.slow
def test_resume_says_that_it_is_not_exact(isaac: Make, tmp_path: Path) -> None:
    rl2cli.train(_spec(256), run_dir=tmp_path / "run")
    summary = resume(str(tmp_path / "run"), view=make_view("quiet"), total_frames=512)
    assert (summary.status, summary.frames) == ("finished", 512)
    assert "the running episodes cannot be restored" in " ".join(summary.inexact)


@pytest.mark.parametrize(
    ("options", "problem", "hint"),
    [
        ({"task": "Isaac-Pont-v0"}, "Isaac Lab has no task 'Isaac-Pont-v0'", "did you mean 'Isaac-Point'"),
        ({"task": "Isaac-Many"}, "Isaac-Many has several agents: rl2 trains one", None),
        ({"task": "my_tasks:Cfg"}, "would import the module 'my_tasks', which is not allowed", "--allow-import"),
        ({"presets": ["ovphisx"]}, "Isaac-Point has no preset 'ovphisx'", "did you mean 'ovphysx'"),
        ({"renderer": "newton"}, "Isaac-Point has no camera whose renderer can be chosen", None),
        ({"asset_root": "nowhere"}, "there is no asset root 'nowhere'", "a folder or an address"),
        ({"config": {"drfit": 1.0}}, "the task's configuration has no 'drfit' there", "did you mean 'drift'?"),
        ({"config": {"sim": {"dd": 1.0}}}, "the task's configuration has no 'dd' there", "there are: d"),
        ({"config": {"reward": "os:abort"}}, "reward is code, which a spec cannot set", None),
        ({"config": {"func": "os:abort"}}, "func is code, which a spec cannot set", None),
        ({"config": {"note": "lambda: 1"}}, "would be run as code", None),
        ({"config": {"note": "os:abort"}}, "would be run as code", None),
        ({"config": {"network_file": "a.pt"}}, "would be run as code", None),
        ({"config": {"drift": "far"}}, "drift is a number, not a string", None),
        ({"config": {"decimation": 1.5}}, "decimation is a whole number, not a number", None),
        ({"config": {"weights": 1.0}}, "weights is a list, not a number", None),
        ({"config": {"sim": 3}}, "sim is a SimCfg, not a whole number", None),
        ({"config": {"shape": "flat"}}, "there is no 'flat'", "there are: ROUND, SQUARE"),
        ({"config": {"weights": ["lambda: 1"]}}, "would be run as code", None),
    ],
)
def test_what_is_wrong_is_said(isaac: Make, options: dict[str, object], problem: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as raised:
        isaac(**options)
    assert problem in raised.value.message
    if hint is not None:
        assert hint in (raised.value.hint or "")


def test_settings_that_fit_are_set(isaac: Make) -> None:
    config = {
        "drift": 1,
        "friction": 0.5,
        "weights": [3.0],
        "shape": "square",
        "note": "b",
        "sim": {"dt": 0.02},
        "rewards": {"alive": 2.0},
    }
    configuration = isaac(config=config)._env.cfg
    assert configuration.friction == 0.5
    assert (configuration.drift, configuration.weights, configuration.note) == (1.0, (3.0,), "b")
    assert (configuration.shape.name, configuration.sim.dt, configuration.rewards) == ("SQUARE", 0.02, {"alive": 2.0})
    assert (configuration.sim.device, configuration.compute_final_obs) == ("cpu", True)


def test_a_missing_asset_is_named_with_its_root(isaac: Make, fake_lab: Path) -> None:
    with pytest.raises(UsageError) as raised:
        isaac("Isaac-Far-v0")
    assert raised.value.message == (
        f"Isaac-Far needs the asset Isaac/Robots/Far/far.usd, which the asset root {fake_lab} does not have"
    )


def test_a_task_that_raises_is_named(isaac: Make) -> None:
    env = isaac()
    env.reset(np.arange(3))
    with pytest.raises(EnvironmentFault, match=r"Isaac-Point raised IndexError in step: .*\(after 0 steps\)"):
        env.step(torch.zeros(3))


def test_single_environments_cannot_be_reset(isaac: Make) -> None:
    with pytest.raises(UsageError, match="single ones cannot be reset"):
        isaac().reset(np.arange(3), np.array([True, False, True]))


def test_another_version_is_refused(isaac: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "lab_version", lambda: "2.3.1")
    with pytest.raises(MissingDependencyError, match=r"this is Isaac Lab 2\.3\.1, and rl2 knows 3\.0") as raised:
        isaac()
    assert raised.value.hint == installation.INSTALL


def test_without_isaac_sim_its_physics_is_refused(isaac: Make) -> None:
    with pytest.raises(MissingDependencyError, match="Isaac Sim is not installed"):
        isaac(physics="isaacsim")


def test_the_users_word_is_asked_for(isaac: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_is_there", lambda name: True)
    monkeypatch.delenv(installation.EULA, raising=False)
    with pytest.raises(MissingDependencyError, match="is to be accepted by you") as raised:
        isaac()
    assert f"set {installation.EULA}=YES" in (raised.value.hint or "")


def test_the_simulators_chatter_is_kept(isaac: Make, capfd: pytest.CaptureFixture[str]) -> None:
    isaac()
    assert capfd.readouterr() == ("", "")
