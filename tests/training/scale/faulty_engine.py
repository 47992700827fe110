"""An engine of workers in this process that die, fall silent and answer twice, as a seed decides."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import Any

from rl2cli.spec.model import RunSpec
from rl2cli.training.scale.engine import Answered, Event, Joined, Lost
from rl2cli.training.scale.local import _owned
from rl2cli.training.scale.shard_worker import ShardWorker
from rl2cli.training.scale.task import Layout, Outcome, Task, Weights

LOSSES = ("killed before its task", "killed after its task", "silent")
FAULTS = (*LOSSES, "twice")


@dataclass
class _Worker:
    steps: ShardWorker | None
    tasks: deque[tuple[Task, Weights]] = field(default_factory=deque)
    absent: int = 0
    """Polls until it is started anew."""


class FakeEngine:
    """Runs `count` workers, each poll one task of one of them; `faults` of a hundred tasks go wrong."""

    def __init__(self, spec: RunSpec, layout: Layout, count: int = 3, seed: int = 0, faults: int = 25) -> None:
        self._make = lambda: ShardWorker(spec, layout)
        self._dice, self._faults = random.Random(seed), faults
        self._workers = [_Worker(None, absent=place) for place in range(count)]  # they come one after the other
        self._weights: dict[int, Weights] = {}
        self._late: list[tuple[int, Event]] = []
        self._losses: Counter[tuple[int, int]] = Counter()
        self.happened: Counter[str] = Counter()

    def publish(self, weights: Weights) -> None:
        self._weights[weights.version] = weights

    def drop(self, version: int) -> None:
        del self._weights[version]

    def submit(self, worker: int, task: Task) -> None:
        assert self._workers[worker].steps is not None, "a task for a worker that is gone"
        self.happened["with a state" if task.state is not None else "live"] += 1
        self._workers[worker].tasks.append((task, self._weights[task.version]))

    def withdraw(self, worker: int, shard: int, numbers: list[int]) -> None:
        self.happened["withdrawn"] += 1
        found = self._workers[worker]
        assert found.steps is not None
        if self._dice.random() < 0.5:  # in time
            found.tasks = deque(each for each in found.tasks if each[0].number not in numbers)
            found.steps.forget(shard)

    def poll(self, timeout: float, stop: Any = None) -> list[Event]:
        events: list[Event] = [event for polls, event in self._late if polls <= 0]
        self._late = [(polls - 1, event) for polls, event in self._late if polls > 0]
        for place, worker in enumerate(self._workers):
            if worker.steps is None:
                worker.absent -= 1
                if worker.absent < 0:
                    worker.steps = self._make()
                    events.append(Joined(place, f"fake {place}"))
        if events:
            return events
        busy = [place for place, worker in enumerate(self._workers) if worker.tasks]
        return self._work(self._dice.choice(busy)) if busy else [Answered(0, Outcome(-1, 0, 0))]

    def _work(self, place: int) -> list[Event]:
        worker = self._workers[place]
        fault = self._dice.choice(FAULTS) if self._dice.random() * 100 < self._faults else ""
        first = worker.tasks[0][0].shard, worker.tasks[0][0].iteration
        if fault in LOSSES and self._losses[first] == 2:
            fault = ""  # a third time would be no accident
        if fault:
            self.happened[fault] += 1
            self._losses[first] += fault in LOSSES
        if fault == FAULTS[0]:
            return self._lost(place)
        task, weights = worker.tasks.popleft()
        assert worker.steps is not None
        outcome = worker.steps.run(task, weights)
        assert outcome is not None
        answer = Answered(place, replace(outcome, columns=_owned(outcome.columns)))
        if fault == "killed after its task":
            return self._lost(place)
        if fault == "silent":
            self._late.append((self._dice.randrange(4), answer))
            return self._lost(place)
        return [answer, answer] if fault == "twice" else [answer]

    def _lost(self, place: int) -> list[Event]:
        worker = self._workers[place]
        assert worker.steps is not None
        worker.steps.close()
        self._workers[place] = _Worker(None, absent=self._dice.randrange(6))
        return [Lost(place, f"worker {place} was lost")]

    def close(self) -> None:
        for worker in self._workers:
            if worker.steps is not None:
                worker.steps.close()
