"""A vectorised adapter in a process of its own, for backends that allow a process only so many."""

from __future__ import annotations

import multiprocessing.util
import time
from typing import Any

import numpy as np
import torch

from rl2cli.envs.advice import ENDED
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.worker_handle import Worker, WorkerLostError
from rl2cli.envs.worker_process import Assignment
from rl2cli.keys import Observation
from rl2cli.options import Options as BaseOptions
from rl2cli.spaces import action_array
from rl2cli.trust import granted


class Apart(BaseEnvAdapter):
    """Steps a vectorised adapter in a child process, which lives until `close`; the same numbers as in this one.

    `setup` starts the process and does not wait for it, so that it gets ready beside what this process does; `wait`, or
    the first reset, does. Only then it has spaces. Running episodes are not restored.

    Args:
        adapter: The adapter's class; the child imports it by its name.
        options: Its options.
        num_envs: N.
        device: Device wanted there.
        render_mode: How it draws.
        time_limit: Seconds that it may take for one call.
    """

    vectorised = True
    watches_itself = True

    def __init__(
        self,
        adapter: type[BaseEnvAdapter],
        options: BaseOptions,
        *,
        num_envs: int,
        device: torch.device | str = "cpu",
        render_mode: str | None = None,
        time_limit: float,
    ) -> None:
        super().__init__(options, num_envs=num_envs, render_mode=render_mode)
        self._adapter, self._wanted, self._time_limit = adapter, str(device), time_limit
        self._workers: list[Worker] = []
        self._is_ready = False
        # before multiprocessing ends its children by a signal
        self._end = multiprocessing.util.Finalize(self, _end, (self._workers,), exitpriority=100)

    def setup(self) -> None:
        """Start the process."""
        assignment = Assignment(
            f"{self._adapter.__module__}:{self._adapter.__qualname__}",
            self.options.model_dump_json(),
            0,
            self.num_envs,
            self.render_mode,
            granted(),
            "",
            self._wanted,
        )
        count = "1 environment" if self.num_envs == 1 else f"{self.num_envs} environments"
        self._started = time.monotonic()
        self._workers.append(Worker(0, assignment, self._time_limit, f"the separate process with {count}"))

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes."""
        observation, info = self._ask("reset", (seed, mask))
        return _tensors(observation), _tensors(info)

    def step(self, action: torch.Tensor) -> Step:
        """Take one step in every environment."""
        return Step(**{name: _tensors(value) for name, value in self._ask("step", action_array(action)).items()})

    def render(self) -> np.ndarray:
        """Return a picture of the first environment."""
        picture: np.ndarray = self._ask("render")
        return picture

    def close(self) -> None:
        """End the process."""
        if self._end.still_active():
            self._end()

    def _ask(self, command: str, *argument: Any) -> Any:
        self.wait()
        return self._answer(command, *argument)

    def _answer(self, command: str, *argument: Any) -> Any:
        self._require_process()
        try:
            self._workers[0].send(command, *argument)
            return self._workers[0].receive()
        except BaseException:
            self.close()
            raise

    def _require_process(self) -> None:
        if not self._workers:
            raise WorkerLostError("the separate process has ended", hint=ENDED)

    def wait(self) -> None:
        """Wait until the environments are built.

        Raises:
            RL2Error: They could not be.
        """
        if self._is_ready:
            return
        self._require_process()
        try:
            self._workers[0].ready()
        except BaseException:
            self.close()
            raise
        self.observation_space, self.action_space, declared, memory_bytes = self._answer("describe")
        for name, value in declared.items():
            setattr(self, name, value)
        self.process_cost = time.monotonic() - self._started, memory_bytes
        self._is_ready = True


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        worker.end()
        if worker.lost is None:
            worker.join(5)
        worker.kill()
    workers.clear()


def _tensors(value: Any) -> Any:
    """Return arrays, in dicts too, as tensors over the same memory; anything else as it is."""
    if isinstance(value, dict):
        return {key: _tensors(part) for key, part in value.items()}
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
