"""`rl2 check-env`: what keeps the contract is told so, what breaks it is told in which row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_runner import Rl2

from rl2cli.checks.environment import Checked, check_environment
from rl2cli.envs import make_env_adapter
from rl2cli.envs.base import BaseEnvAdapter, Step

CARTPOLE = {"backend": "gymnasium", "id": "CartPole-v1", "num_envs": 3, "vectorization": "single"}


def test_cartpole_keeps_the_contract(rl2: Rl2) -> None:
    ended = rl2("check-env", "gymnasium:CartPole-v1", "--steps", "60")
    assert ended.code == 0, ended.stderr
    assert ended.stdout.startswith("gymnasium:CartPole-v1: 4 environments, ")
    assert ended.stdout.endswith("it keeps the contract\n")
    for row in ("observation ", "reward ", "terminated ", "final_observation ", "seeding ", "resume ", "speed "):
        assert f"  {row}" in ended.stdout
    assert "WRONG" not in ended.stdout


def test_a_spec_and_options_and_json(rl2: Rl2, spec: Path) -> None:
    ended = rl2("check-env", spec, "--set", "env.max_episode_steps=5", "--steps", "40", "--json")
    assert (ended.code, ended.stderr) == (0, "")
    report = json.loads(ended.stdout)
    assert (report["ok"], report["num_envs"]) == (True, 8)
    rows = {row["key"]: row for row in report["checks"]}
    assert rows["observation"]["expected"] == "float32 [8, 4]"
    assert rows["truncated"]["got"] != "bool [8], 0 times"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["CartPole-v1"], "did you mean gymnasium:CartPole-v1?"),
        (["gymnasum:CartPole-v1"], "did you mean 'gymnasium'?"),
        (["gymnasium:CartPole-v9"], "CartPole"),
        (["gymnasium"], "id"),
        ([], "name one, as in rl2 check-env gymnasium:CartPole-v1"),
        (["none.toml"], "there is no file"),
        (["gymnasium:CartPole-v1", "--steps", "0"], "--steps"),
    ],
)
def test_what_names_no_environment_is_explained(rl2: Rl2, words: list[str], message: str) -> None:
    ended = rl2("check-env", *words)
    assert ended.code == 2
    assert message in ended.stderr


class Broken(BaseEnvAdapter):
    """Wraps an adapter and breaks one thing."""

    vectorised = True

    def __init__(self, inner: BaseEnvAdapter, what: str) -> None:
        super().__init__(inner.options, num_envs=inner.num_envs)
        self.inner, self.what, self.calls = inner, what, 0
        self.observation_space, self.action_space = inner.observation_space, inner.action_space

    def setup(self) -> None: ...

    def reset(self, seed: Any = None, mask: Any = None) -> tuple[Any, dict[str, Any]]:
        seed = seed * 0 if self.what == "another seed" else seed
        return self.inner.reset(seed, mask)

    def step(self, action: torch.Tensor) -> Step:
        step = self.inner.step(action)
        step.observation = step.observation.clone()  # type: ignore[union-attr]
        self.calls += 1
        if self.what == "final_observation":
            step.final_observation = step.observation
        elif self.what == "reward":
            step.reward = step.reward.double()
        elif self.what == "terminated":
            step.terminated = step.terminated[:1]
        elif self.what == "observation":
            step.observation[0, 0] = float("nan")
        elif self.what == "seeding":
            step.reward = step.reward + self.calls
        elif self.what == "step":
            return 1 / 0  # type: ignore[return-value]
        return step


def broken(what: str) -> Checked:
    env = make_env_adapter(CARTPOLE, workers=0)
    try:
        return check_environment(Broken(env, what), 120)
    finally:
        env.close()


@pytest.mark.parametrize("what", ["final_observation", "reward", "terminated", "observation", "seeding"])
def test_each_broken_part_is_found_in_its_row(what: str) -> None:
    report = broken(what)
    assert not report.ok
    assert [row.key for row in report.rows if row.ok is False] == [what]


def test_a_reset_that_ignores_its_seed_is_pointed_out() -> None:
    report = broken("another seed")
    (row,) = [row for row in report.rows if row.key == "another seed"]
    assert report.ok
    assert row.ok is None
    assert "does reset use its seed?" in row.got


def test_whole_adapters_are_told_so() -> None:
    report = broken("nothing")
    assert report.ok
    assert {row.key for row in report.rows} >= {"observation", "final_observation", "autoreset", "seeding", "speed"}
