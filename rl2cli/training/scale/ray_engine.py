"""Workers that are actors of Ray: started anew where they are lost, and watched, since a host may fall silent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from rl2cli.errors import RL2Error, UsageError
from rl2cli.spec.model import RunSpec
from rl2cli.training.scale.assignment import assignment_of
from rl2cli.training.scale.engine import Answered, Event, Joined, Lost, Noted
from rl2cli.training.scale.ray_actor import RayWorker, as_arrays, as_tensors
from rl2cli.training.scale.ray_cluster import Cluster
from rl2cli.training.scale.task import Layout, Task, Weights
from rl2cli.training.signals import StopRequest

BEATS = 5
"""Signs of life that a worker is asked for in the time after which it is lost."""
AGAIN = 30.0
"""Seconds until a worker is tried again that could not be started, or cannot be used where it is."""
LOOK = 0.25
"""Seconds between looks at a stop request."""
_CONTROL = "control"


@dataclass
class _Place:
    """A worker, or where one will be again."""

    actor: Any = None
    introduction: Any = None
    """What it says of itself is awaited; None once it has."""
    name: str = ""
    is_ready: bool = False
    beat: Any = None
    beat_sent: float = 0.0
    heard: float = 0.0
    """When it last answered, or began to be waited for."""
    progress: tuple[int, float] | None = None
    progressed: float = 0.0
    tasks: int = 0
    again_at: float = 0.0
    """When an actor is started here."""


class RayEngine:
    """Runs workers on Ray.

    Args:
        cluster: Ray itself.
        spec: The run, with every automatic choice made.
        announce: Told what is waited for.
    """

    def __init__(self, cluster: Cluster, spec: RunSpec, announce: Callable[[str], None]) -> None:
        import ray

        assert spec.scale is not None
        self._ray, self._cluster, self._scale, self._announce = ray, cluster, spec.scale, announce
        self._hang_after = spec.env.timeout
        self._assignment = ray.put(assignment_of(spec))
        named = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0}
        options |= {named[name]: amount for name, amount in self._scale.resources.items() if name in named}
        options["resources"] = {name: each for name, each in self._scale.resources.items() if name not in named}
        self._actors = ray.remote(concurrency_groups={_CONTROL: 1})(RayWorker).options(**options)
        self._weights: dict[int, Any] = {}
        self._running: dict[Any, int] = {}  # tasks' answers, to the place that will give them
        self._places = [_Place() for _ in range(self._scale.workers)]
        self._ready: deque[Event] = deque()
        self._refusals: set[str] = set()
        self._polled = time.monotonic()

    @classmethod
    def start(cls, spec: RunSpec, layout: Layout, announce: Callable[[str], None]) -> RayEngine:
        """Start or join a cluster, and wait for the first worker that can be used.

        Raises:
            MissingDependencyError: Ray is not installed.
            UsageError: There is no such cluster, or no worker of it can be used; the hint says what would be right.
        """
        assert spec.scale is not None
        scale = spec.scale.model_copy(update={"workers": min(spec.scale.workers, layout.shards)})
        if scale.workers < spec.scale.workers:
            announce(f"{scale.workers} workers instead of {spec.scale.workers}: there are {layout.shards} shards")
        cluster = Cluster(scale)
        try:
            engine = cls(cluster, spec.model_copy(update={"scale": scale}), announce)
            engine._wait_for_first()
        except BaseException:
            cluster.close()
            raise
        return engine

    def publish(self, weights: Weights) -> None:
        """See `Engine`."""
        tensors = [as_arrays(each) for each in weights.tensors]
        self._weights[weights.version] = self._ray.put(replace(weights, tensors=tensors))

    def drop(self, version: int) -> None:
        """See `Engine`."""
        self._weights.pop(version, None)

    def submit(self, worker: int, task: Task) -> None:
        """See `Engine`."""
        place = self._places[worker]
        answer = place.actor.run.remote(task, self._weights[task.version])
        self._running[answer] = worker
        if not place.tasks:
            place.progressed = time.monotonic()
        place.tasks += 1

    def withdraw(self, worker: int, shard: int, numbers: list[int]) -> None:
        """See `Engine`."""
        self._places[worker].actor.withdraw.options(concurrency_group=_CONTROL).remote(shard, numbers)

    def poll(self, timeout: float, stop: StopRequest | None = None) -> list[Event]:
        """See `Engine`."""
        self._resume_watch()
        until = time.monotonic() + timeout
        while not self._ready:
            if stop is not None and stop.is_set:
                break
            self._cluster.require_alive(stop)
            try:
                self._start_due()
                self._wait(min(LOOK, max(0.0, until - time.monotonic())))
                self._watch()
            except Exception:
                self._cluster.require_alive(stop)
                if stop is None or not stop.is_set:
                    raise
            if time.monotonic() >= until:
                break
        self._polled = time.monotonic()
        events = list(self._ready)
        self._ready.clear()
        return events

    def close(self) -> None:
        """See `Engine`."""
        for place in self._places:
            if place.actor is not None and self._cluster.is_alive:
                self._kill(place)
        self._running.clear()
        self._cluster.close()

    # --- starting workers ---

    def _wait_for_first(self) -> None:
        """Wait until a worker has joined.

        Raises:
            UsageError: None of them can be used.
        """
        began, said = time.monotonic(), False
        while not any(place.is_ready for place in self._places):
            self._start_due()
            self._wait(LOOK)
            refused = [place for place in self._places if place.actor is None]
            if len(refused) == len(self._places):
                reasons = "; ".join(sorted(self._refusals))
                raise UsageError(
                    f"no worker can be used: {reasons}",
                    hint="the workers need rl2, its libraries and the run's plugins as they are here",
                    place="scale.engine",
                )
            if not said and time.monotonic() - began > AGAIN:
                said = True
                self._announce("waiting for Ray to start a worker: `ray status` says what it waits for")
        self._cluster.require_closed_doors()

    def _start_due(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.actor is None and place.again_at <= now:
                place.actor = self._actors.remote(self._assignment)
                place.introduction = place.actor.introduce.remote()

    def _kill(self, place: _Place) -> None:
        with suppress(Exception):  # it may be gone, and all of Ray with it
            self._ray.kill(place.actor, no_restart=True)

    # --- what they say ---

    def _wait(self, seconds: float) -> None:
        """Take in whatever is there, waiting for it for so many seconds."""
        awaited = [*self._running]
        awaited += [each for place in self._places for each in (place.introduction, place.beat) if each is not None]
        if not awaited:
            time.sleep(seconds)
            return
        found, _ = self._ray.wait(awaited, num_returns=1, timeout=seconds)
        if found:
            found, _ = self._ray.wait(awaited, num_returns=len(awaited), timeout=0)
        ready = set(found)
        for number, place in enumerate(self._places):
            if place.introduction in ready:
                self._introduced(number, place)
            elif place.beat in ready:
                self._beaten(number, place)
        for answer in found:
            if answer in self._running:  # and its worker was not lost meanwhile
                self._answered(answer)

    def _introduced(self, number: int, place: _Place) -> None:
        try:
            place.name, problem = self._ray.get(place.introduction, timeout=self._scale.lost_after)
        except Exception as error:
            problem, place.name = _reason(error), "a worker"
        place.introduction = None
        if problem is None:
            place.is_ready, place.heard, place.beat, place.tasks = True, time.monotonic(), None, 0
            self._ready.append(Joined(number, place.name))
            return
        self._kill(place)
        place.actor, place.again_at = None, time.monotonic() + AGAIN
        text = f"{place.name} is not used: {problem}"
        if problem not in self._refusals:
            self._refusals.add(problem)
            self._ready.append(Noted(text))

    def _beaten(self, number: int, place: _Place) -> None:
        beat, place.beat = place.beat, None
        try:
            progress = self._ray.get(beat, timeout=self._scale.lost_after)
        except Exception as error:
            self._lose(number, _reason(error))
            return
        place.heard = time.monotonic()
        if progress != place.progress:
            place.progress, place.progressed = progress, place.heard

    def _answered(self, answer: Any) -> None:
        number = self._running.pop(answer)
        place = self._places[number]
        place.tasks -= 1
        try:
            outcome = self._ray.get(answer, timeout=self._scale.lost_after)
        except Exception as error:
            self._lose(number, _reason(error))
            return
        place.heard = place.progressed = time.monotonic()
        if outcome is not None:  # it was not withdrawn
            self._ready.append(Answered(number, replace(outcome, columns=as_tensors(outcome.columns))))

    # --- watching over them ---

    def _resume_watch(self) -> None:
        """Count no time as silence in which nobody listened."""
        now = time.monotonic()
        if now - self._polled > 1.0:
            for place in self._places:
                place.heard = place.progressed = now

    def _watch(self) -> None:
        now = time.monotonic()
        for number, place in enumerate(self._places):
            if not place.is_ready:
                continue
            if place.beat is None and now - max(place.beat_sent, place.heard) > self._scale.lost_after / BEATS:
                place.beat = place.actor.beat.options(concurrency_group=_CONTROL).remote()
                place.beat_sent = now
            if now - place.heard > self._scale.lost_after:
                self._lose(number, f"no sign of life for {self._scale.lost_after:g} s")
            elif place.tasks and now - place.progressed > self._hang_after:
                self._lose(number, f"its environments took more than env.timeout = {self._hang_after:g} s for a step")

    def _lose(self, number: int, reason: str) -> None:
        place = self._places[number]
        if not place.is_ready:
            return
        self._running = {answer: where for answer, where in self._running.items() if where != number}
        self._kill(place)
        text = f"worker {number} ({place.name}) was lost: {reason}; others do its work, and another one is started"
        self._places[number] = _Place()
        self._ready.append(Lost(number, text))


def _reason(error: Exception) -> str:
    """Return why Ray could not give an answer, in a line."""
    if isinstance(error, RL2Error):
        return error.message
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = [line for line in lines if "Error" in line]
    text = last[-1] if "Traceback" in str(error) and last else (lines[0] if lines else type(error).__name__)
    return text[:300].rstrip(".")
