"""A sharded run on machines that are not here, event by event, in a time that is computed.

What decides is the scheduler of every run (`rl2cli.training.scale.scheduler`), so a shard stays with its worker, is
moved where that pays, and is done again elsewhere where a worker is lost; the learner waits for all shards of an
iteration, and rollout k is collected with the weights of k - lag updates. What takes time is modelled: steps and what
surrounds them, the learner's thread, its network both ways (one message after the other), and hosts that fail.

Not in it: workers that differ or share a core with the learner, a network that is slow elsewhere than at the learner's
host, and evaluations, checkpoints and everything else between iterations.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

from rl2cli.benchmarks.scale_costs import Costs, Size
from rl2cli.training.scale.engine import Answered, Event, Joined, Lost
from rl2cli.training.scale.scheduler import Scheduler
from rl2cli.training.scale.task import Outcome, Task, Weights
from rl2cli.training.signals import StopRequest

WARM_UP = 3
"""Iterations that do not count: shards come to their workers."""
PARTS = ("workers", "learning", "tasks", "network to workers", "network to learner")
"""What may be busy: workers, on average; the learner's thread with updates, and with tasks; its network both ways."""


@dataclass(frozen=True)
class Forecast:
    """What came of a simulated run."""

    frames_per_second: float
    iteration_seconds: float
    began: float
    """When the first iteration that counts began, in seconds since the start."""
    seconds: float
    """From then to the end."""
    busy: dict[str, float]
    """Part of that time in which each of `PARTS` was busy."""
    lost: int
    """Workers that were lost in all."""

    @property
    def bottleneck(self) -> tuple[str, float]:
        """Which was busiest of workers, the learner's thread and its network, and the part of the time."""
        learner = self.busy["learning"] + self.busy["tasks"]
        loads = {name: busy for name, busy in self.busy.items() if name not in ("learning", "tasks")}
        return max((loads | {"learner": learner}).items(), key=lambda item: item[1])


def simulate(
    costs: Costs, size: Size, iterations: int, seed: int = 0, failures: Sequence[tuple[float, int]] = ()
) -> Forecast:
    """Run the pipeline for `iterations` that count.

    Args:
        costs: What everything takes.
        size: What there is.
        iterations: How many count, after `WARM_UP`.
        seed: Decides when hosts fail.
        failures: Seconds since the start, and the host that fails then, besides.
    """
    engine = ModelEngine(costs, size, seed, failures)
    scheduler = Scheduler(engine, size.lag, lambda shard, iteration: {"seeds": ()}, engine.count_lost)
    scheduler.begin([{"seeds": ()} for _ in range(size.shards)], 0)
    began, before = 0.0, dict(engine.spent)
    for iteration in range(WARM_UP + iterations):
        if iteration == WARM_UP:
            began, before = engine.now, dict(engine.spent)
        engine.publish(Weights(iteration, iteration * size.frames, []))
        scheduler.ask(iteration + size.lag)
        scheduler.take(None)
        engine.learn(size.frames)
    seconds = engine.now - began
    whole = dict.fromkeys(PARTS, seconds) | {"workers": seconds * size.workers}
    busy = {part: (engine.spent[part] - before[part]) / whole[part] for part in PARTS}
    return Forecast(iterations * size.frames / seconds, seconds / iterations, began, seconds, busy, engine.lost)


def seconds_lost(costs: Costs, size: Size, phases: int = 2) -> float:
    """Return the seconds that a run is later for one host that fails and is replaced, mean of so many moments."""
    usual = simulate(costs, size, 1)
    iterations = 6 + int(1.2 * (size.detect_seconds + size.replace_seconds) / usual.iteration_seconds)
    undisturbed = simulate(costs, size, iterations)
    at = [undisturbed.began + (1 + (phase + 0.5) / phases) * undisturbed.iteration_seconds for phase in range(phases)]
    disturbed = [simulate(costs, size, iterations, failures=[(when, size.hosts - 1)]) for when in at]
    return sum(each.seconds for each in disturbed) / phases - undisturbed.seconds


@dataclass
class _Worker:
    host: int
    is_up: bool = False
    life: int = 0
    """Which of the workers that had this place it is."""
    is_busy: bool = False
    queue: deque[Task] = field(default_factory=deque)


class ModelEngine:
    """An `Engine` whose workers and network are computed; `now` is the clock of the learner's thread, in seconds.

    Args:
        costs: What everything takes.
        size: What there is.
        seed: Decides when hosts fail.
        failures: Seconds since the start, and the host that fails then, besides.
    """

    def __init__(self, costs: Costs, size: Size, seed: int = 0, failures: Sequence[tuple[float, int]] = ()) -> None:
        self.now = 0.0
        self.spent = dict.fromkeys(PARTS, 0.0)
        """Seconds in which each of `PARTS` was busy; those of all workers added up."""
        self.lost = 0
        self._costs, self._size, self._dice = costs, size, random.Random(seed)
        self._step_seconds = size.task_frames * costs.step_seconds + size.rollout_length * costs.act_seconds
        self._task_seconds = self._step_seconds + costs.task_seconds
        self._restore_seconds = costs.restore_steps * size.envs_per_shard * costs.step_seconds
        self._outcome_bytes = size.task_frames * costs.frame_bytes + costs.state_bytes
        self._workers = [_Worker(place // size.workers_per_host) for place in range(size.workers)]
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self._at_event = 0.0
        self._inbox: list[Event] = []
        self._withdrawn: set[int] = set()
        self._versions: dict[int, int] = {}
        self._free = {"network to workers": 0.0, "network to learner": 0.0}
        for place in range(size.workers):
            self._at(0.0, self._join, place)
        for when, host in failures:
            self._at(when, self._fail, host)

    # --- what the scheduler and the learner do ---

    def publish(self, weights: Weights) -> None:
        """See `Engine`."""
        self._work("tasks", self._costs.publish_seconds)

    def drop(self, version: int) -> None:
        """See `Engine`."""

    def submit(self, worker: int, task: Task) -> None:
        """See `Engine`."""
        self._work("tasks", self._costs.submit_seconds)
        to = self._workers[worker]
        size = self._costs.state_bytes if _is_moved(task) else 0.0
        if self._versions.get(to.host, -1) < task.version:
            self._versions[to.host] = task.version
            size += self._costs.weight_bytes
        sent = self._send("network to workers", self.now, size)
        self._at(sent + self._costs.trip_seconds / 2, self._arrive, worker, to.life, task)

    def withdraw(self, worker: int, shard: int, numbers: list[int]) -> None:
        """See `Engine`."""
        self._withdrawn.update(numbers)

    def poll(self, timeout: float, stop: StopRequest | None = None) -> list[Event]:
        """See `Engine`."""
        self._advance(self.now)
        while not self._inbox:
            self.now = self._events[0][0]
            self._advance(self.now)
        events, self._inbox = self._inbox, []
        self._work("tasks", self._costs.answer_seconds * sum(isinstance(each, Answered) for each in events))
        return events

    def close(self) -> None:
        """See `Engine`."""

    def learn(self, frames: int) -> None:
        """Spend the learner's time on an update with so many frames."""
        self._work("learning", self._costs.learn_seconds * frames)

    def count_lost(self, text: str, worker: int) -> None:
        """Count a worker that was lost; takes what a `Scheduler` tells."""
        self.lost += worker >= 0

    # --- what happens elsewhere ---

    def _join(self, place: int) -> None:
        worker = self._workers[place]
        worker.is_up = True
        self._inbox.append(Joined(place))
        if self._size.host_failures and place % self._size.workers_per_host == 0:
            after = self._dice.expovariate(self._size.host_failures)
            self._at(self._at_event + after, self._fail, worker.host)

    def _arrive(self, place: int, life: int, task: Task) -> None:
        worker = self._workers[place]
        if worker.is_up and worker.life == life:
            worker.queue.append(task)
            if not worker.is_busy:
                self._begin_next(place)

    def _begin_next(self, place: int) -> None:
        worker = self._workers[place]
        worker.is_busy = False
        while worker.queue and not worker.is_busy:
            task = worker.queue.popleft()
            if task.number in self._withdrawn:
                self._withdrawn.discard(task.number)
                continue
            worker.is_busy = True
            seconds = self._task_seconds + (self._restore_seconds if _is_moved(task) else 0.0)
            self.spent["workers"] += seconds
            self._at(self._at_event + seconds, self._finish, place, worker.life, task)

    def _finish(self, place: int, life: int, task: Task) -> None:
        if self._workers[place].life != life:
            return
        outcome = Outcome(task.number, task.shard, task.iteration, {}, {"environments": ()}, self._step_seconds)
        sent = self._send("network to learner", self._at_event, self._outcome_bytes)
        self._at(sent + self._costs.trip_seconds / 2, self._inbox_take, Answered(place, outcome))
        self._begin_next(place)

    def _fail(self, host: int) -> None:
        """Lose the workers of a host, which is found out later, and replaced later still."""
        first = host * self._size.workers_per_host
        for place in range(first, min(first + self._size.workers_per_host, self._size.workers)):
            worker = self._workers[place]
            if not worker.is_up:
                continue
            self._workers[place] = _Worker(host, life=worker.life + 1)
            found = self._at_event + self._size.detect_seconds
            self._at(found, self._inbox_take, Lost(place, "its host failed"))
            self._at(found + self._size.replace_seconds, self._join, place)
        self._versions.pop(host, None)

    def _inbox_take(self, event: Event) -> None:
        self._inbox.append(event)

    # --- time ---

    def _send(self, network: str, at: float, size: float) -> float:
        """Return when a message of so many bytes is through, which waits for those before it."""
        seconds = size / self._costs.bytes_per_second
        self._free[network] = max(at, self._free[network]) + seconds
        self.spent[network] += seconds
        return self._free[network]

    def _work(self, part: str, seconds: float) -> None:
        """Spend the time of the learner's thread."""
        self.now += seconds
        self.spent[part] += seconds

    def _at(self, when: float, happen: Callable[..., None], *arguments: Any) -> None:
        heappush(self._events, (when, next(self._order), happen, arguments))

    def _advance(self, until: float) -> None:
        """Let everything happen that happens up to `until`."""
        while self._events and self._events[0][0] <= until:
            self._at_event, _, happen, arguments = heappop(self._events)
            happen(*arguments)


def _is_moved(task: Task) -> bool:
    """Return whether a task comes with the state of running episodes."""
    return task.state is not None and "seeds" not in task.state
