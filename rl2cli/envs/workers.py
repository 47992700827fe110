"""N single environments made a batch in worker processes."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.util
import signal
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import numpy as np
import torch

from rl2cli import errors
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.buffers import StepBuffers, step_layout
from rl2cli.envs.in_process import join_states, split_state
from rl2cli.envs.shared_memory import SharedArrays
from rl2cli.envs.worker_process import ENDED, FAILED, VALUE, Assignment, Failure, run
from rl2cli.errors import EnvironmentFault, RL2Error, UsageError
from rl2cli.interpreter import safe_start
from rl2cli.keys import Observation
from rl2cli.options import Options as BaseOptions
from rl2cli.spaces import action_array, action_dtype, action_shape, observation_space
from rl2cli.trust import granted

TIME_LIMIT = 300.0
"""Seconds that a worker may take for one command before it counts as hung."""


class WorkerTraceback(Exception):
    """The traceback of an exception inside a worker process, as text."""


@dataclass
class _Worker:
    name: str
    process: SpawnProcess
    connection: Connection
    start: int
    stop: int


class WorkerBatch(BaseEnvAdapter):
    """Steps N single adapters in worker processes; the same numbers as `InProcessBatch`, bit for bit.

    The tensors it returns are views of shared memory and hold until the next step.

    Args:
        adapter: The single adapter's class; the workers import it by its name.
        options: Its options.
        num_envs: N.
        workers: Number of processes, at most N.
        render_mode: Given to the first environment only.
        time_limit: Seconds that one command may take.
    """

    vectorised = True
    steps_elsewhere = True

    def __init__(
        self,
        adapter: type[BaseEnvAdapter],
        options: BaseOptions,
        *,
        num_envs: int,
        workers: int,
        render_mode: str | None = None,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        super().__init__(options, num_envs=num_envs, render_mode=render_mode)
        self._adapter = adapter
        self._count = min(workers, num_envs)
        self._time_limit = time_limit
        self._workers: list[_Worker] = []
        self._end = multiprocessing.util.Finalize(self, _end_all, (self._workers,), exitpriority=100)

    def setup(self) -> None:
        """Start the workers, let each build its environments, and map the memory they share.

        Raises:
            UsageError: The adapter's class is in a script, where a worker cannot import it.
        """
        if self._adapter.__module__ == "__main__":
            raise UsageError(
                f"worker processes cannot import {self._adapter.__name__} from the script that was started",
                hint="put it into a module, or set workers = 0",
            )
        edges = np.linspace(0, self.num_envs, self._count + 1).astype(int).tolist()
        for index, (start, stop) in enumerate(itertools.pairwise(edges)):
            self._workers.append(self._start(index, start, stop))
        self._receive_all()
        self._send("describe")
        raw_space, self.action_space, mask_width, declared = self._receive_all()[0]
        self.resume, self.frame_skip, self.frame_stack = declared
        self.has_action_mask = mask_width > 0
        self.observation_space = observation_space(raw_space)
        self._share(raw_space, mask_width)

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes, of all environments or of those in `mask`."""
        seeds = np.arange(self.num_envs) if seed is None else np.asarray(seed)
        self._send(
            "reset",
            [
                (seeds[each.start : each.stop], None if mask is None else mask[each.start : each.stop])
                for each in self._workers
            ],
        )
        self._receive_all()
        return self._buffers.observation.tensors, self._buffers.info()

    def step(self, action: torch.Tensor) -> Step:
        """Take one step in every environment."""
        self._actions[...] = action_array(action)
        self._send("step")
        return self._buffers.step(any(self._receive_all()))

    def render(self) -> np.ndarray:
        """Return a picture of the first environment."""
        self._send("render", workers=self._workers[:1])
        picture: np.ndarray = self._receive(self._workers[0])
        return picture

    def get_state(self) -> dict[str, Any] | None:
        """Return what restores the running episodes, as `InProcessBatch.get_state` does."""
        if self.resume == "none":
            return None
        self._send("get_state")
        return join_states(self._receive_all())

    def set_state(self, state: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Bring every environment to where `get_state` found it."""
        self._send("set_state", [split_state(state, each.start, each.stop) for each in self._workers])
        self._receive_all()
        return self._buffers.observation.tensors, self._buffers.info()

    def close(self) -> None:
        """End the worker processes."""
        if self._end.still_active():
            self._end()

    def _start(self, index: int, start: int, stop: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        assignment = Assignment(
            f"{self._adapter.__module__}:{self._adapter.__qualname__}",
            self.options.model_dump_json(),
            start,
            stop,
            self.render_mode if index == 0 else None,
            granted(),
        )
        process = context.Process(target=run, args=(theirs, assignment), name=f"rl2-worker-{index}", daemon=True)
        with _plain_start():
            process.start()
        theirs.close()
        return _Worker(f"worker {index} (environments {start} to {stop - 1})", process, ours, start, stop)

    def _share(self, raw_space: Any, mask_width: int) -> None:
        layout = step_layout(raw_space, self.num_envs, mask_width)
        numbers = torch.zeros(0, dtype=action_dtype(self.action_space)).numpy()
        layout["action"] = ((self.num_envs, *action_shape(self.action_space)), numbers.dtype)
        shared = SharedArrays(layout)
        try:
            self._send("attach", [(shared.path, layout)] * self._count)
            self._receive_all()
        finally:
            shared.forget_path()
        self._actions = shared.arrays.pop("action")
        self._buffers = StepBuffers(raw_space, shared.arrays)

    def _send(self, command: str, arguments: list[Any] | None = None, workers: list[_Worker] | None = None) -> None:
        if not self._workers:
            raise EnvironmentFault("the worker processes have ended")
        name = command.encode()
        for index, worker in enumerate(self._workers if workers is None else workers):
            try:
                worker.connection.send_bytes(name)
                if arguments is not None:
                    worker.connection.send(arguments[index])
            except OSError as error:
                raise self._lost(worker) from error

    def _receive_all(self) -> list[Any]:
        return [self._receive(worker) for worker in self._workers]

    def _receive(self, worker: _Worker) -> Any:
        try:
            if not worker.connection.poll(self._time_limit):
                self.close()
                raise EnvironmentFault(f"{worker.name} gave no answer for {self._time_limit:g} seconds")
            reply = worker.connection.recv_bytes()
            if reply == FAILED:
                failure: Failure = worker.connection.recv()
                self.close()
                raise _rebuilt(worker, failure) from WorkerTraceback(failure.trace)
            return worker.connection.recv() if reply == VALUE else reply == ENDED
        except (EOFError, OSError) as error:
            raise self._lost(worker) from error

    def _lost(self, worker: _Worker) -> EnvironmentFault:
        worker.process.join(5)
        code = worker.process.exitcode
        self.close()
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return EnvironmentFault(f"{worker.name} {how}", hint="its last words, if any, are above on the terminal")


def _rebuilt(worker: _Worker, failure: Failure) -> RL2Error:
    """Return the exception that a worker sent: of its own class where that is one of rl2's."""
    kind = getattr(errors, failure.kind, None)
    if isinstance(kind, type) and issubclass(kind, RL2Error) and kind is not errors.Stopped:
        return kind(f"{worker.name}: {failure.message}", hint=failure.hint)
    return EnvironmentFault(f"{worker.name} raised {failure.kind}: {failure.message}")


@contextlib.contextmanager
def _plain_start() -> Iterator[None]:
    """Start a process that neither runs the parent's script again nor hears Ctrl-C or SIGTERM while it starts.

    It has the parent's module path from its first import on: nothing in the current folder comes before Python's own.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    can_block = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM}) if can_block else set()
    try:
        with safe_start():
            yield
    finally:
        sys.modules["__main__"] = script
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_all(workers: list[_Worker]) -> None:
    """Ask every worker to end, and end those that do not."""
    for worker in workers:
        with contextlib.suppress(OSError):
            worker.connection.send_bytes(b"close")
            worker.connection.close()
    for worker in workers:
        worker.process.join(2)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.process.close()
    workers.clear()
