"""The engine without processes: one worker here, whose tasks are done while they are waited for."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch

from rl2cli.spec.model import RunSpec
from rl2cli.training.scale.engine import Answered, Event, Joined
from rl2cli.training.scale.shard_worker import ShardWorker
from rl2cli.training.scale.task import Layout, Task, Weights
from rl2cli.training.signals import StopRequest


class LocalEngine:
    """Steps shards in this process, one after the other, with one thread as every worker does.

    Args:
        spec: The run, with every automatic choice made.
        layout: Its shards.
    """

    def __init__(self, spec: RunSpec, layout: Layout) -> None:
        self._worker = ShardWorker(spec, layout)
        self._tasks: deque[Task] = deque()
        self._weights: dict[int, Weights] = {}
        self._has_joined = False

    def publish(self, weights: Weights) -> None:
        """See `Engine`."""
        self._weights[weights.version] = weights

    def drop(self, version: int) -> None:
        """See `Engine`."""
        self._weights.pop(version, None)

    def submit(self, worker: int, task: Task) -> None:
        """See `Engine`."""
        self._tasks.append(task)

    def withdraw(self, worker: int, shard: int, numbers: list[int]) -> None:
        """See `Engine`."""
        self._tasks = deque(task for task in self._tasks if task.number not in numbers)
        self._worker.forget(shard)

    def poll(self, timeout: float, stop: StopRequest | None = None) -> list[Event]:
        """Do the next task; see `Engine`."""
        if not self._has_joined:
            self._has_joined = True
            return [Joined(0, "this process")]
        if not self._tasks:
            return []
        task = self._tasks.popleft()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            outcome = self._worker.run(task, self._weights[task.version], stop)
        finally:
            torch.set_num_threads(threads)
        if outcome is None:
            return []
        if outcome.columns is not None:
            outcome.columns.update(_owned(outcome.columns))
        return [Answered(0, outcome)]

    def close(self) -> None:
        """See `Engine`."""
        self._tasks.clear()
        self._worker.close()


def _owned(value: Any) -> Any:
    """Return columns that the next rollout of the shard does not overwrite."""
    if isinstance(value, dict):
        return {key: _owned(part) for key, part in value.items()}
    return value.clone() if isinstance(value, torch.Tensor) else value
