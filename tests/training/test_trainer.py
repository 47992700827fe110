"""The loop itself: what is asked of whom and when, with stand-ins for everything around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rl2cli.algorithms.base import BaseAlgorithm, Task
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.errors import EnvironmentFault
from rl2cli.options import Options
from rl2cli.reporting.progress import Evaluation
from rl2cli.training.seeding import make_generator
from rl2cli.training.signals import StopRequest
from rl2cli.training.trainer import Schedule, Trainer


class Environment(BaseEnvAdapter):
    """Two environments; `reward_shape` may break the contract."""

    vectorised = True
    resume = "state"

    def __init__(self, log: list[str], reward_shape: tuple[int, ...] = (2,)) -> None:
        super().__init__(Options(), num_envs=2)
        self.log, self.reward_shape = log, reward_shape
        self.stop: StopRequest | None = None
        self.stop_at = 0
        self.setup()

    def setup(self) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, seed: Any = None, mask: Any = None) -> tuple[Any, dict[str, Any]]:
        self.log.append("reset")
        return torch.zeros(2, 3), {}

    def get_state(self) -> dict[str, Any]:
        return {"nothing": np.zeros(1)}

    def set_state(self, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self.log.append("set_state")
        return torch.zeros(2, 3), {}

    def step(self, action: Any) -> Step:
        self.log.append("step")
        if self.stop is not None and self.log.count("step") == self.stop_at:
            self.stop.signal_number = 2
        no = torch.zeros(2, dtype=torch.bool)
        return Step(torch.zeros(2, 3), torch.ones(self.reward_shape), no, no)


class Algorithm(BaseAlgorithm):
    rollout_length = 2

    def __init__(self, log: list[str]) -> None:
        space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        cpu = torch.device("cpu")
        super().__init__(
            Options(),
            Task(space, spaces.Discrete(2), 2, 100, cpu, None, None, lambda purpose: make_generator(1, purpose, cpu)),
        )
        self.log = log

    def act(self, observation: Any, explore: Any = None, action_mask: Any = None) -> dict[str, torch.Tensor]:
        self.log.append("act")
        return {"action": torch.zeros(len(observation), dtype=torch.int64)}

    def update(self, trajectories: Any, frames: int) -> dict[str, float]:
        self.log.append(f"update {frames}")
        return {"loss": 0.5}


class Around:
    """Evaluator, checkpoint store, journal and view at once: writes down what is asked of it."""

    def __init__(self, log: list[str], means: list[float]) -> None:
        self.log, self.means = log, means
        self.count = 0
        self.remarks: list[str] = []

    def evaluate(self, algorithm: Any, frames: int, stop: Any) -> Evaluation:
        self.log.append(f"evaluate {frames}")
        return Evaluation(frames, self.means.pop(0), 0.0, 1, 0.0)

    def save(self, frames: int, state: Any, metadata: Any, *, best: bool, **_: Any) -> None:
        self.log.append(f"save {frames}" + " best" * best)

    def wait(self) -> None:
        self.log.append("wait")

    def due(self) -> bool:
        return False

    def commit(self) -> dict[str, int | str]:
        return {}

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


def _run(
    means: list[float],
    total_frames: int = 12,
    evaluate_every: int = 1000,
    checkpoint_every: int = 1000,
    target_return: float | None = None,
    stop: StopRequest | None = None,
    reward_shape: tuple[int, ...] = (2,),
) -> tuple[list[str], str]:
    log: list[str] = []
    schedule = Schedule(1, total_frames, evaluate_every, checkpoint_every, target_return)
    trainer = _trainer(log, means, schedule, reward_shape)
    return log, trainer.run(stop or StopRequest())


def _trainer(log: list[str], means: list[float], schedule: Schedule, reward_shape: tuple[int, ...] = (2,)) -> Trainer:
    around = Around(log, means)
    return Trainer(Algorithm(log), Environment(log, reward_shape), around, around, around, around, schedule, {})


def test_the_order_of_things() -> None:
    log, status = _run([1.0], total_frames=8)
    rollout = ["act", "step", "act", "step"]
    assert log == ["reset", *rollout, "update 4", *rollout, "update 8", "evaluate 8", "save 8 best", "wait"]
    assert status == "finished"


def test_a_rollout_is_finished_also_beyond_the_total() -> None:
    log, _ = _run([1.0], total_frames=9)
    assert [entry for entry in log if entry.startswith("update")] == ["update 4", "update 8", "update 12"]


def _events(log: list[str]) -> list[str]:
    return [entry for entry in log if entry.startswith(("evaluate", "save"))]


def test_evaluations_and_checkpoints_come_when_their_frames_have_passed() -> None:
    log, _ = _run([1.0, 0.5, 1.0], 24, evaluate_every=8, checkpoint_every=12)
    # a tie is won by the later one; a best policy is saved although no checkpoint is due
    assert _events(log) == ["evaluate 8", "save 8 best", "save 12", "evaluate 16", "evaluate 24", "save 24 best"]


def test_a_long_rollout_is_evaluated_once() -> None:
    log, _ = _run([1.0] * 3, 12, evaluate_every=1)
    assert [entry for entry in log if entry.startswith("evaluate")] == ["evaluate 4", "evaluate 8", "evaluate 12"]


def test_the_target_ends_the_run_after_a_save() -> None:
    log, status = _run([1.0, 3.0], 40, evaluate_every=4, target_return=2.0)
    assert status == "target reached"
    assert _events(log) == ["evaluate 4", "save 4 best", "evaluate 8", "save 8 best"]


@pytest.mark.parametrize(
    ("stop_at", "end"),
    [
        (1, ["act", "step", "save 0", "wait"]),
        (2, ["step", "update 4", "save 4", "wait"]),  # the rollout was complete, so it is learned from
        (3, ["update 4", "act", "step", "save 4", "wait"]),
    ],
)
def test_a_stop_request_ends_the_run_after_a_step_or_an_update_and_a_save(stop_at: int, end: list[str]) -> None:
    stop, log = StopRequest(), []  # type: ignore[var-annotated]
    trainer = _trainer(log, [], Schedule(1, 40, 1000, 1000, None))
    trainer.env.stop, trainer.env.stop_at = stop, stop_at  # type: ignore[attr-defined]
    assert trainer.run(stop) == "stopped"
    assert log[-len(end) :] == end


def test_what_is_saved_already_is_not_saved_again() -> None:
    stop, log = StopRequest(), []  # type: ignore[var-annotated]
    trainer = _trainer(log, [], Schedule(1, 40, 1000, 4, None))
    trainer.env.stop, trainer.env.stop_at = stop, 3  # type: ignore[attr-defined]
    assert trainer.run(stop) == "stopped"
    assert _events(log) == ["save 4"]


@pytest.mark.parametrize("shape", [(2, 1), (1,), ()])
def test_a_shape_that_would_broadcast_silently_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EnvironmentFault, match=r"reward: expected torch\.float32 \[2\]"):
        _run([1.0], reward_shape=shape)


def test_a_state_has_which_rows_begin_an_episode() -> None:
    schedule = Schedule(1, 8, 1000, 1000, None)
    one, other = _trainer([], [1.0], schedule), _trainer(log := [], [1.0], schedule)
    one.run(StopRequest())
    one.collector.rollout.next_is_init.copy_(torch.tensor([False, True]))
    assert other.set_state(one.get_state()) == []
    assert log == ["set_state"]
    assert other.collect(StopRequest())["is_init"][0].flatten().tolist() == [False, True]
    assert (other.frames, other.iteration, other.best) == (8, 2, one.best)


def test_environments_that_cannot_be_restored_begin_anew_and_that_is_said() -> None:
    schedule = Schedule(1, 8, 1000, 1000, None)
    one, other = _trainer([], [1.0], schedule), _trainer(log := [], [1.0], schedule)
    one.run(StopRequest())
    state = one.get_state()
    (note,) = other.set_state({**state, "collector": {**state["collector"], "environments": None}})
    assert "cannot be restored" in note
    assert log == ["reset"]
    assert other.collect(StopRequest())["is_init"][0].all()
