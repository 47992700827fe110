"""N single environments made a batch in worker processes."""

from __future__ import annotations

import itertools
import multiprocessing.util
from typing import Any

import numpy as np
import torch

from rl2cli.envs.advice import ENDED
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.buffers import Layout, StepBuffers, step_layout
from rl2cli.envs.in_process import join_states, split_state
from rl2cli.envs.seeding import episode_seed
from rl2cli.envs.shared_memory import SharedArrays
from rl2cli.envs.worker_handle import Worker, WorkerLostError
from rl2cli.envs.worker_process import Assignment
from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.keys import Observation
from rl2cli.options import Options as BaseOptions
from rl2cli.spaces import Array, action_array, action_dtype, action_shape, observation_space
from rl2cli.trust import granted

TIME_LIMIT = 300.0
"""Seconds that a worker may go without progress before it counts as hung."""


class WorkerBatch(BaseEnvAdapter):
    """Steps N single adapters in worker processes; the same numbers as `InProcessBatch`, bit for bit.

    The tensors it returns are views of shared memory and hold until the next step. A worker that dies or hangs in a
    step is started anew: its environments begin new episodes, with new seeds, and `Step.cut` says so.

    Args:
        adapter: The single adapter's class; the workers import it by its name.
        options: Its options.
        num_envs: N.
        workers: Number of processes, at most N.
        render_mode: Given to the first environment only.
        time_limit: Seconds that an environment may take for one step.
        max_restarts: How many workers may be started anew; the next one that is lost raises.
    """

    vectorised = True
    steps_elsewhere = True
    watches_itself = True

    def __init__(
        self,
        adapter: type[BaseEnvAdapter],
        options: BaseOptions,
        *,
        num_envs: int,
        workers: int,
        render_mode: str | None = None,
        time_limit: float = TIME_LIMIT,
        max_restarts: int = 0,
    ) -> None:
        super().__init__(options, num_envs=num_envs, render_mode=render_mode)
        self._adapter = adapter
        self._count = min(workers, num_envs)
        self._time_limit, self._max_restarts, self._restarts = time_limit, max_restarts, 0
        self._seeds: Array = np.arange(num_envs)
        self._workers: list[Worker] = []
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
        try:
            for worker in self._workers:
                worker.ready()
        except BaseException:
            self.close()
            raise
        self._raw_space, self.action_space, mask_width, declared = self._ask("describe")[0]
        self.resume, self.frame_skip, self.frame_stack = declared
        self.has_action_mask = mask_width > 0
        self.observation_space = observation_space(self._raw_space)
        self._layout = step_layout(self._raw_space, self.num_envs, mask_width)
        numbers = torch.zeros(0, dtype=action_dtype(self.action_space)).numpy()
        self._layout["action"] = ((self.num_envs, *action_shape(self.action_space)), numbers.dtype)
        self._arrays: dict[str, Array] = {}
        self._share(self._layout)

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes, of all environments or of those in `mask`."""
        seeds = np.arange(self.num_envs) if seed is None else np.asarray(seed)
        self._seeds = seeds.copy() if mask is None else np.where(mask, seeds, self._seeds)
        self._ask("reset", [(seeds[each.rows], None if mask is None else mask[each.rows]) for each in self._workers])
        return self._buffers.observation.tensors, self._buffers.info()

    def step(self, action: torch.Tensor) -> Step:
        """Take one step in every environment."""
        self._require_workers()
        self._actions[...] = action_array(action)
        for worker in self._workers:
            worker.send("step")
        ended, lost = False, []
        for worker in self._workers:
            try:
                ended |= self._receive(worker)
            except WorkerLostError:
                lost.append(worker)
        if not lost:
            return self._buffers.step(ended)
        return self._restarted(lost, ended)

    def render(self) -> np.ndarray:
        """Return a picture of the first environment."""
        self._require_workers()
        self._workers[0].send("render")
        picture: np.ndarray = self._receive_or_close(self._workers[0])
        return picture

    def get_state(self) -> dict[str, Any] | None:
        """Return what restores the running episodes, as `InProcessBatch.get_state` does.

        None where a worker was lost since the last step, which the next one finds out too.
        """
        self._require_workers()
        if self.resume == "none":
            return None
        for worker in self._workers:
            worker.send("get_state")
        try:
            return join_states([self._receive(worker) for worker in self._workers])
        except WorkerLostError:
            if self._restarts >= self._max_restarts:
                self.close()
                raise
            for worker in self._workers:
                worker.drop_answers()
            return None

    def set_state(self, state: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Bring every environment to where `get_state` found it."""
        self._seeds = np.array(state["base_seed"])
        self._ask("set_state", [split_state(state, each.start, each.stop) for each in self._workers])
        return self._buffers.observation.tensors, self._buffers.info()

    def close(self) -> None:
        """End the worker processes."""
        if self._end.still_active():
            self._end()

    # --- starting workers anew ---

    def _restarted(self, lost: list[Worker], ended: bool) -> Step:
        """Return the step in which `lost` were lost: they are replaced, and their environments begin new episodes."""
        cut = np.zeros(self.num_envs, np.bool_)
        for worker in lost:
            cut[worker.rows] = True
            self._replace(worker)
        for array in (self._buffers.reward, self._buffers.terminated, self._buffers.truncated):
            array[cut] = 0
        step = self._buffers.step(ended)
        step.cut, step.valid = torch.from_numpy(cut), torch.from_numpy(~cut)
        return step

    def _replace(self, worker: Worker) -> None:
        """Start a new worker in place of one that was lost, and new episodes in it.

        Raises:
            WorkerLostError: There were `max_restarts` already, or the last allowed one was lost as well.
        """
        while worker.lost is not None:
            loss = worker.lost
            if self._restarts >= self._max_restarts:
                self.close()
                raise WorkerLostError(f"{loss.message}{_times(self._restarts)}", hint=loss.hint)
            self._restarts += 1
            self.incidents.append(
                f"{loss.message}; it is started anew ({self._restarts} of {self._max_restarts}), the episodes it had "
                "are cut, and the run is not exact any more"
            )
            worker.kill()
            worker = self._workers[worker.index] = self._start(worker.index, worker.start, worker.stop)
            try:
                worker.ready()
                self._share(self._layout)
                seeds = [episode_seed(int(seed), -1 - self._restarts) for seed in self._seeds[worker.rows]]
                self._seeds[worker.rows] = seeds
                worker.send("reset", (np.array(seeds), None))
                self._receive(worker)
            except WorkerLostError:
                continue

    def _start(self, index: int, start: int, stop: int) -> Worker:
        assignment = Assignment(
            f"{self._adapter.__module__}:{self._adapter.__qualname__}",
            self.options.model_dump_json(),
            start,
            stop,
            self.render_mode if index == 0 else None,
            granted(),
            "",
        )
        return Worker(index, assignment, self._time_limit)

    def _share(self, layout: Layout) -> None:
        """Map memory anew, with what the old one held, for all workers that are there."""
        shared = SharedArrays(layout)
        for name, array in self._arrays.items():
            shared.arrays[name][...] = array
        present = [worker for worker in self._workers if worker.lost is None]
        try:
            for worker in present:
                worker.send("attach", (shared.path, layout))
            for worker in present:
                self._receive(worker)
        finally:
            shared.forget_path()
        self._arrays = dict(shared.arrays)
        self._actions = shared.arrays.pop("action")
        self._buffers = StepBuffers(self._raw_space, shared.arrays)

    # --- asking them ---

    def _ask(self, command: str, arguments: list[Any] | None = None) -> list[Any]:
        """Return every worker's answer; one that is lost ends them all."""
        self._require_workers()
        for worker in self._workers:
            worker.send(command, *([] if arguments is None else [arguments[worker.index]]))
        return [self._receive_or_close(worker) for worker in self._workers]

    def _receive_or_close(self, worker: Worker) -> Any:
        try:
            return self._receive(worker)
        except WorkerLostError:
            self.close()
            raise

    def _receive(self, worker: Worker) -> Any:
        """Return a worker's answer; an exception of its environments ends them all, a loss does not."""
        try:
            return worker.receive()
        except WorkerLostError:
            raise
        except BaseException:
            self.close()
            raise

    def _require_workers(self) -> None:
        if not self._workers:
            raise EnvironmentFault("the worker processes have ended", hint=ENDED)


def _times(restarts: int) -> str:
    return "" if not restarts else f", after {restarts} restart{'s' if restarts > 1 else ''} of workers"


def _end_all(workers: list[Worker]) -> None:
    """Ask every worker to end, and end those that do not."""
    for worker in workers:
        worker.end()
    for worker in workers:
        if worker.lost is None:
            worker.join(2)
        worker.kill()
    workers.clear()
