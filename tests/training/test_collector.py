"""Collecting one rollout ahead: whose weights act in it, that a run does not depend on speed, and what goes wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from small_runs import differences, learned, spec, train

from rl2cli.algorithms.base import BaseAlgorithm, Task
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.options import Options
from rl2cli.spec import load_spec_dict
from rl2cli.training.build import build
from rl2cli.training.clock import Clock
from rl2cli.training.collector import Collector, OverlappedCollector
from rl2cli.training.seeding import make_generator

SPACE = spaces.Box(-1.0, 1e6, (1,), np.float32)


class Counting(BaseEnvAdapter):
    """Two environments that observe how many steps they have made; every fifth ends an episode."""

    vectorised = True
    resume = "state"

    def __init__(self, seconds: float = 0.0, fails_at: int | None = None) -> None:
        super().__init__(Options(), num_envs=2)
        self.seconds, self.fails_at, self.steps = seconds, fails_at, 0
        self.observation_space, self.action_space = SPACE, spaces.Discrete(2)

    def setup(self) -> None:
        """Nothing to build."""

    def reset(self, seed: Any = None, mask: Any = None) -> tuple[Any, dict[str, Any]]:
        self.steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> Step:
        time.sleep(self.seconds)
        self.steps += 1
        if self.steps == self.fails_at:
            raise EnvironmentFault("broken")
        ended = torch.full((2,), self.steps % 5 == 0)
        final = self._observation() if ended.any() else None
        return Step(self._observation(), torch.ones(2), torch.zeros(2, dtype=torch.bool), ended, final)

    def get_state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def set_state(self, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self.steps = state["steps"]
        return self._observation(), {}

    def _observation(self) -> torch.Tensor:
        return torch.full((2, 1), float(self.steps))


class Versioned(BaseAlgorithm):
    """Its one weight is the number of its updates; every step notes whose weight acted, and a random number."""

    can_overlap = True
    rollout_length = 3

    def __init__(self) -> None:
        cpu = torch.device("cpu")
        make = lambda purpose: make_generator(1, purpose, cpu)  # noqa: E731  # as short as it gets
        super().__init__(Options(), Task(SPACE, spaces.Discrete(2), 2, 100, cpu, None, None, make))  # type: ignore[arg-type]  # it has no networks
        self.version = torch.nn.Parameter(torch.zeros(()))

    @torch.no_grad()
    def act(self, observation: Any, explore: Any = None, action_mask: Any = None) -> dict[str, torch.Tensor]:
        noise = torch.rand(len(observation), generator=explore)
        version = self.version.expand(len(observation)).clone()
        return {"action": torch.zeros(len(observation), dtype=torch.int64), "version": version, "noise": noise}

    @torch.no_grad()
    def update(self, trajectories: Any, frames: int) -> dict[str, float]:
        self.version += 1.0
        return {}


def _walk(collector: Collector, count: int) -> list[dict[str, list[float]]]:
    found = []
    for _ in range(count):
        trajectories = collector.collect()
        keys = ("version", "noise", "observation", "is_init")
        found.append({key: trajectories[key].flatten().tolist() for key in keys})
        collector.algorithm.update(trajectories, 0)
    return found


def _overlapped(env: Counting) -> OverlappedCollector:
    return OverlappedCollector(Versioned(), env, Clock(), Versioned())


def test_the_weights_of_one_update_ago_act() -> None:
    collector = _overlapped(Counting())
    collector.reset(np.arange(2))
    assert [set(rollout["version"]) for rollout in _walk(collector, 5)] == [{0.0}, {0.0}, {1.0}, {2.0}, {3.0}]
    collector.close()


def test_but_for_the_weights_it_is_the_same_stream() -> None:
    plain, ahead = Collector(Versioned(), Counting(), Clock()), _overlapped(Counting())
    for collector in (plain, ahead):
        collector.reset(np.arange(2))
    one, other = _walk(plain, 6), _walk(ahead, 6)
    ahead.close()
    assert [{**rollout, "version": None} for rollout in one] == [{**rollout, "version": None} for rollout in other]
    assert [set(rollout["version"]) for rollout in one] == [{float(k)} for k in range(6)]


@pytest.mark.parametrize("done", [0, 1, 3])
def test_it_goes_on_from_a_state_as_if_nothing_had_been_collected_ahead(done: int) -> None:
    collector = _overlapped(Counting())
    collector.reset(np.arange(2))
    _walk(collector, done)
    state = collector.get_state()
    version = float(collector.algorithm.version.detach())  # type: ignore[arg-type]  # a parameter
    expected = _walk(collector, 3)
    collector.close()
    again = _overlapped(Counting(seconds=0.002))
    again.algorithm.version.data.fill_(version)  # type: ignore[union-attr,operator]  # as the Trainer does
    assert again.set_state(state) == (None, False)
    assert _walk(again, 3) == expected
    again.close()


def test_a_failure_beside_the_caller_is_raised_where_it_waits() -> None:
    collector = _overlapped(Counting(fails_at=5))
    collector.reset(np.arange(2))
    collector.collect()
    with pytest.raises(EnvironmentFault, match="broken"):
        collector.collect()
    collector.close()


def test_a_run_does_not_depend_on_its_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(tmp_path, spec(overlap=True), "fast")
    slow = OverlappedCollector._fill

    def delayed(self: OverlappedCollector, *arguments: Any) -> bool:
        time.sleep(0.01)
        return slow(self, *arguments)

    monkeypatch.setattr(OverlappedCollector, "_fill", delayed)
    assert list(differences(learned(run), learned(train(tmp_path, spec(overlap=True), "slow")))) == []
    assert list(differences(learned(run), learned(train(tmp_path, spec(overlap=False), "plain")))) != []


@pytest.mark.parametrize(
    ("cores", "elsewhere", "chosen", "said"),
    [
        (8, True, True, "one update behind"),
        (2, True, False, "take turns: 2 cores are few"),
        (8, False, False, None),
    ],
)
def test_it_is_chosen_where_it_can_pay(
    monkeypatch: pytest.MonkeyPatch, cores: int, elsewhere: bool, chosen: bool, said: str | None
) -> None:
    from rl2cli.envs.gymnasium_vector import GymnasiumVectorAdapter

    monkeypatch.setattr("rl2cli.training.build.available_cores", lambda: cores)
    monkeypatch.setattr(GymnasiumVectorAdapter, "steps_elsewhere", elsewhere)
    parts = build(load_spec_dict(spec(overlap="auto")).spec)
    parts.close()
    assert parts.plan.spec.overlap is chosen
    assert (parts.actor is not None) == chosen
    assert any(said in choice for choice in parts.plan.choices) if said else not parts.plan.choices[3:]


def test_an_algorithm_that_cannot_is_refused_with_its_place() -> None:
    settings = spec("Pendulum-v1", overlap=True)
    settings["algorithm"] = {"name": "sac"}
    with pytest.raises(UsageError, match="sac cannot collect and learn at the same time") as caught:
        build(load_spec_dict(settings).spec)
    assert caught.value.place == "overlap"
