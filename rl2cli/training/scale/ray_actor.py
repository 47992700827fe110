"""What runs inside a worker process of Ray."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rl2cli.training.scale.assignment import Assignment, host, problem_here, spec_here
from rl2cli.training.scale.shard_worker import ShardWorker
from rl2cli.training.scale.task import Outcome, Task, Weights, layout_of


class RayWorker:
    """Does tasks in one thread, and answers in another whether it is alive.

    Args:
        assignment: What it is built from.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._worker: ShardWorker | None = None
        self._withdrawn: set[int] = set()
        self._to_forget: set[int] = set()
        self._begun = 0

    def introduce(self) -> tuple[str, str | None]:
        """Return where it runs, and why it cannot be used, if so, in words."""
        return host(), problem_here(self._assignment)

    def run(self, task: Task, weights: Weights) -> Outcome | None:
        """Do a task; None where it was withdrawn."""
        torch.set_num_threads(1)
        self._begun += 1
        if self._worker is None:
            spec = spec_here(self._assignment)
            self._worker = ShardWorker(spec, layout_of(spec))
        while self._to_forget:
            self._worker.forget(self._to_forget.pop())
        if task.number in self._withdrawn:
            self._withdrawn.discard(task.number)
            return None
        outcome = self._worker.run(task, replace(weights, tensors=[as_tensor(each) for each in weights.tensors]))
        assert outcome is not None  # nothing stops it
        return replace(outcome, columns=as_arrays(outcome.columns))

    def withdraw(self, shard: int, numbers: list[int]) -> None:
        """Let tasks alone that others do, and give up their shard; called while others run."""
        self._withdrawn.update(numbers)
        self._to_forget.add(shard)

    def beat(self) -> tuple[int, float]:
        """Return numbers that change as long as it gets on; called while a task runs."""
        return self._begun, 0.0 if self._worker is None else self._worker.progress


def as_arrays(value: Any) -> Any:
    """Return nested columns as arrays, which travel without a copy; what has no array stays a tensor."""
    if isinstance(value, dict):
        return {key: as_arrays(part) for key, part in value.items()}
    if isinstance(value, torch.Tensor) and value.dtype != torch.bfloat16:
        return value.detach().cpu().numpy()
    return value


def as_tensors(value: Any) -> Any:
    """Return nested columns as tensors that share the memory of `as_arrays`, which is only to be read."""
    if isinstance(value, dict):
        return {key: as_tensors(part) for key, part in value.items()}
    return as_tensor(value)


def as_tensor(value: Any) -> Any:
    """Return an array as a tensor that shares its memory; anything else as it is."""
    if not isinstance(value, np.ndarray):
        return value
    with warnings.catch_warnings():  # that it cannot be written to
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(value)
