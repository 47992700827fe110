"""Who is given which task, by an engine that only takes notes."""

from __future__ import annotations

from typing import Any

import pytest

from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.training.scale.engine import Answered, Event, Joined, Lost, Noted
from rl2cli.training.scale.scheduler import MOST_ATTEMPTS, Scheduler
from rl2cli.training.scale.task import Failure, Outcome, Task


class Notes:
    """Keeps what it is asked, and answers what a test has put into `events`."""

    def __init__(self) -> None:
        self.given: list[tuple[int, Task]] = []
        self.withdrawn: list[tuple[int, int]] = []
        self.events: list[Event] = []

    def submit(self, worker: int, task: Task) -> None:
        self.given.append((worker, task))

    def withdraw(self, worker: int, shard: int, numbers: list[int]) -> None:
        self.withdrawn.append((worker, shard))

    def poll(self, timeout: float, stop: Any = None) -> list[Event]:
        events, self.events = self.events, []
        return events

    def answer(self, position: int, **outcome: Any) -> None:
        """Put the answer to a task that was given into the events."""
        worker, task = self.given[position]
        made = {"columns": {}, "state": {"environments": {"at": task.iteration + 1}}} | outcome
        self.events.append(Answered(worker, Outcome(task.number, task.shard, task.iteration, **made)))


def _scheduler(shards: int = 4, workers: int = 2, lag: int = 0) -> tuple[Scheduler, Notes]:
    notes = Notes()
    scheduler = Scheduler(notes, lag, lambda shard, iteration: {"seeds": [shard, iteration]})  # type: ignore[arg-type]
    scheduler.begin([{"environments": {"at": 0}} for _ in range(shards)], 0)
    notes.events = [Joined(place) for place in range(workers)]
    scheduler.ask(lag)
    assert scheduler.take(None) is None
    return scheduler, notes


def _given(notes: Notes) -> list[tuple[int, int, int, bool]]:
    return [(worker, task.shard, task.iteration, task.state is not None) for worker, task in notes.given]


def test_shards_are_spread_and_stay_where_their_environments_are() -> None:
    scheduler, notes = _scheduler()
    assert _given(notes) == [(0, 0, 0, True), (1, 1, 0, True), (0, 2, 0, True), (1, 3, 0, True)]
    for position in range(4):
        notes.answer(position)
    outcomes = scheduler.take(None)
    assert outcomes is not None
    assert [outcome.shard for outcome in outcomes] == [0, 1, 2, 3]
    assert scheduler.states() == [{"environments": {"at": 1}}] * 4
    scheduler.ask(1)
    assert _given(notes)[4:] == [(0, 0, 1, False), (1, 1, 1, False), (0, 2, 1, False), (1, 3, 1, False)]


def test_tasks_of_a_lost_worker_are_done_elsewhere_from_the_state_and_its_late_answer_counts_for_nothing() -> None:
    scheduler, notes = _scheduler()
    notes.answer(0)
    scheduler.take(None)
    late = notes.given[2]
    notes.events = [Lost(0, "gone")]
    scheduler.take(None)
    assert _given(notes)[4:] == [(1, 2, 0, True)]  # shard 0 has its rollout
    assert notes.given[4][1].number != late[1].number
    notes.answer(2, columns={"late": True})
    for position in (1, 3, 4):
        notes.answer(position)
    outcomes = scheduler.take(None)
    assert outcomes is not None
    assert [outcome.columns for outcome in outcomes] == [{}] * 4
    scheduler.ask(1)
    assert {worker for worker, _, _, _ in _given(notes)[5:]} == {1}
    assert _given(notes)[5] == (1, 0, 1, True)  # its environments were lost; the state is that after its rollout
    assert notes.given[5][1].state == {"environments": {"at": 1}}


def test_an_answer_given_twice_counts_once() -> None:
    scheduler, notes = _scheduler(shards=2)
    notes.answer(0)
    notes.answer(0)
    assert scheduler.take(None) is None
    notes.answer(1)
    assert scheduler.take(None) is not None


def test_with_a_lag_a_worker_has_the_next_rollout_before_it_is_done_with_the_last() -> None:
    scheduler, notes = _scheduler(shards=1, workers=1, lag=2)
    assert [(task.iteration, task.version, task.state is not None) for _, task in notes.given] == [
        (0, 0, True), (1, 0, False), (2, 0, False),
    ]  # fmt: skip
    notes.answer(0)
    scheduler.take(None)
    scheduler.ask(3)
    assert (notes.given[3][1].iteration, notes.given[3][1].version) == (3, 1)


def test_a_worker_that_joins_takes_over_what_waits() -> None:
    scheduler, notes = _scheduler(shards=4, workers=1)
    notes.events = [Joined(1)]
    scheduler.take(None)
    assert _given(notes)[4:] == [(1, 3, 0, True)]
    assert notes.withdrawn == [(0, 3)]


def _answer_all(notes: Notes, given: int) -> int:
    """Answer what was given from position `given` on, each after a second, and return how much was given in all."""
    for position in range(given, len(notes.given)):
        notes.answer(position, environment_seconds=1.0)
    return len(notes.given)


def _homes(notes: Notes, given: int) -> list[int]:
    return sorted(worker for worker, _ in notes.given[given:])


def test_workers_that_come_later_have_as_many_shards_from_the_next_iteration_on() -> None:
    scheduler, notes = _scheduler(shards=8, workers=1)
    notes.events = [Joined(1)]
    scheduler.take(None)
    assert _homes(notes, 8) == [1]  # of the eight that wait, it has taken one
    given = _answer_all(notes, 0)
    assert scheduler.take(None) is not None
    scheduler.ask(1)
    assert _homes(notes, given) == [0] * 4 + [1] * 4
    given = _answer_all(notes, given)
    assert scheduler.take(None) is not None
    before = len(notes.withdrawn)
    scheduler.ask(2)
    assert (_homes(notes, given), len(notes.withdrawn)) == ([0] * 4 + [1] * 4, before)


def test_workers_are_levelled_by_how_long_they_take() -> None:
    scheduler, notes = _scheduler(shards=8, workers=2)
    for position in range(8):
        notes.answer(position, environment_seconds=3.0 if position % 2 else 1.0)
    assert scheduler.take(None) is not None
    given = len(notes.given)
    scheduler.ask(1)
    assert _homes(notes, given) == [0] * 6 + [1] * 2


def test_with_a_lag_a_shard_moves_that_waits_but_not_the_one_that_is_stepped() -> None:
    scheduler, notes = _scheduler(shards=6, workers=1, lag=1)
    for position in range(0, 12, 2):  # the rollouts of iteration 0
        notes.answer(position, environment_seconds=1.0)
    notes.events.append(Joined(1))
    assert scheduler.take(None) is not None
    stepped = scheduler.workers[0].flights[0].shard
    scheduler.ask(2)
    moved = {task.shard for worker, task in notes.given[12:] if worker == 1}
    assert (len(moved), stepped in moved) == (3, False)
    assert all(task.state == {"environments": {"at": 1}} for worker, task in notes.given[12:] if task.iteration == 1)


def test_a_shard_without_a_state_is_not_moved_and_begins_anew_where_it_is_lost() -> None:
    scheduler, notes = _scheduler(shards=2, workers=2)
    for position in (0, 1):
        notes.answer(position, state={"environments": None, "explore": 5})
    scheduler.take(None)
    scheduler.ask(1)
    notes.events = [Lost(0, "gone")]
    scheduler.take(None)
    assert notes.given[-1][1].state == {"explore": 5, "seeds": [0, 1]}
    assert len(scheduler.incidents) == 1
    assert "the run is not exact any more" in scheduler.incidents[0]


def test_a_task_that_ends_every_worker_ends_the_run() -> None:
    scheduler, notes = _scheduler(shards=1, workers=1)
    for attempt in range(MOST_ATTEMPTS):
        assert len(notes.given) == attempt + 1
        notes.events = [Lost(0, "killed by signal 11"), Joined(0)]
        if attempt < MOST_ATTEMPTS - 1:
            scheduler.take(None)
    with pytest.raises(EnvironmentFault, match="5 workers in turn were lost while they stepped shard 0: killed by sig"):
        scheduler.take(None)


def test_what_a_task_raised_is_raised_with_its_worker() -> None:
    scheduler, notes = _scheduler(shards=1, workers=1)
    failure = Failure.of(UsageError("no such level", hint="there are 3", place="env.id"))
    notes.answer(0, failure=failure)
    with pytest.raises(UsageError, match="worker 0: no such level") as caught:
        scheduler.take(None)
    assert (caught.value.hint, caught.value.place) == ("there are 3", "env.id")


def test_what_an_engine_notes_is_told() -> None:
    told: list[tuple[str, int]] = []
    notes = Notes()
    scheduler = Scheduler(notes, 0, lambda shard, iteration: {}, lambda text, worker: told.append((text, worker)))  # type: ignore[arg-type]
    scheduler.begin([{"seeds": []}], 0)
    notes.events = [Noted("a worker is not used"), Joined(3), Lost(3, "gone")]
    scheduler.take(None)
    assert told == [("a worker is not used", -1), ("gone", 3)]
    assert (scheduler.alive, scheduler.workers[3].restarts) == (0, 1)
