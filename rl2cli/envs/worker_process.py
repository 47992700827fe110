"""What runs inside a worker process, and its commands: a slice of single environments, or a vectorised adapter."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import psutil
import torch

from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.buffers import Layout
from rl2cli.envs.heartbeat import Numbers, SharedHeartbeat
from rl2cli.envs.in_process import InProcessBatch
from rl2cli.envs.shared_memory import SharedArrays
from rl2cli.envs.watchdog_process import CALLS, METHOD, METHODS, NOTHING, SETUP, STEPS
from rl2cli.errors import RL2Error
from rl2cli.registry import import_target
from rl2cli.trust import allow_import

DONE, ENDED, VALUE, FAILED = b"0", b"1", b"v", b"x"
"""Replies: done; done and an episode ended; done and an object follows; a `Failure` follows."""
DECLARED = ("critic_only", "has_action_mask", "frame_skip", "frame_stack", "render_fps")
"""What a vectorised adapter declares besides its spaces, as far as another process needs it."""


@dataclass(frozen=True)
class Assignment:
    """What a worker is told when it starts: names and text only."""

    target: str
    """`"module:Class"` of the adapter."""
    options: str
    """Its options as JSON."""
    start: int
    """Its first environment."""
    stop: int
    """The one after its last."""
    render_mode: str | None
    grants: tuple[str, ...]
    """Modules that this user allowed to be imported."""
    heartbeat: str
    """Path of the memory in which it says what it does."""
    device: str = "cpu"
    """Wanted, of a vectorised adapter."""


@dataclass(frozen=True)
class Failure:
    """An exception on its way to the parent process."""

    kind: str
    """Name of its class in `rl2cli.errors`, or of another class."""
    message: str
    hint: str | None
    place: str | None
    trace: str


def run(connection: Connection, assignment: Assignment) -> None:
    """Serve the parent's commands until it says `close` or is gone; the target of a worker process."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent decides when to end, also on Ctrl-C in a terminal
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        _serve(connection, assignment)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the main thread may hang inside an environment


def _serve(connection: Connection, assignment: Assignment) -> None:
    batch: list[BaseEnvAdapter] = []
    heartbeat = SharedHeartbeat(assignment.stop - assignment.start, assignment.start, assignment.heartbeat)
    beat = heartbeat.numbers
    beat[METHOD], beat[CALLS] = SETUP, 1
    if not _reply(connection, lambda: batch.append(_build(assignment, beat))):
        return
    beat[METHOD] = NOTHING
    env = batch[0]
    worker = _Worker(connection, assignment, env) if isinstance(env, InProcessBatch) else _Whole(connection, env, beat)
    try:
        while (command := connection.recv_bytes().decode()) != "close":
            beat[METHOD] = METHODS.index(command) if command in METHODS else NOTHING
            _reply(connection, getattr(worker, command))
            beat[CALLS] += 1
            beat[METHOD] = NOTHING
    finally:
        batch[0].close()


def _build(assignment: Assignment, beat: Numbers) -> BaseEnvAdapter:
    allow_import(assignment.grants)
    adapter = import_target(assignment.target, what="adapter")
    options, num_envs = adapter.Options.model_validate_json(assignment.options), assignment.stop - assignment.start
    if adapter.vectorised:
        whole: BaseEnvAdapter = adapter(
            options, num_envs=num_envs, device=assignment.device, render_mode=assignment.render_mode
        )
        whole.setup()
        return whole
    batch = InProcessBatch(
        adapter,
        options,
        num_envs=num_envs,
        render_mode=assignment.render_mode,
        first_index=assignment.start,
    )
    batch.attach_heartbeat(beat)
    batch.setup()
    return batch


def _reply(connection: Connection, command: Callable[[], Any]) -> bool:
    """Run `command` and send what became of it; return whether it worked."""
    try:
        result = command()
    except Exception as error:
        hint, place = (error.hint, error.place) if isinstance(error, RL2Error) else (None, None)
        failure = Failure(type(error).__name__, str(error), hint, place, traceback.format_exc())
        connection.send_bytes(FAILED)
        connection.send(failure)
        return False
    if result is None or isinstance(result, bool):
        connection.send_bytes(ENDED if result else DONE)
    else:
        connection.send_bytes(VALUE)
        connection.send(result)
    return True


class _Worker:
    """The commands, one a method; each takes its arguments from the pipe and returns what goes back."""

    def __init__(self, connection: Connection, assignment: Assignment, batch: InProcessBatch) -> None:
        self.connection = connection
        self.batch = batch
        self.rows = slice(assignment.start, assignment.stop)

    def describe(self) -> tuple[Any, ...]:
        """Return the spaces and what else the environments declare."""
        batch = self.batch
        declared = batch.resume, batch.frame_skip, batch.frame_stack
        return batch.raw_space, batch.action_space, batch.mask_width, declared

    def attach(self) -> None:
        """Write into shared arrays from now on."""
        path: str
        layout: Layout
        path, layout = self.connection.recv()
        arrays = {name: array[self.rows] for name, array in SharedArrays(layout, path).arrays.items()}
        self.actions = torch.from_numpy(arrays.pop("action"))
        self.batch.attach(arrays)

    def reset(self) -> None:
        """Start new episodes."""
        seeds, mask = self.connection.recv()
        self.batch.reset(seeds, mask)

    def step(self) -> bool:
        """Take one step with the shared actions; return whether an episode ended."""
        return self.batch.step(self.actions).final_observation is not None

    def get_state(self) -> dict[str, Any] | None:
        """Return what restores the running episodes."""
        return self.batch.get_state()

    def set_state(self) -> None:
        """Restore the running episodes."""
        self.batch.set_state(self.connection.recv())

    def render(self) -> np.ndarray:
        """Return a picture of the first environment."""
        return self.batch.render()


class _Whole:
    """The commands of a vectorised adapter that lives here alone; what it returns goes back as arrays."""

    def __init__(self, connection: Connection, env: BaseEnvAdapter, beat: Numbers) -> None:
        self.connection, self.env, self.beat = connection, env, beat

    def describe(self) -> tuple[Any, ...]:
        """Return the spaces, what else the adapter declares, and the bytes of memory that this process takes."""
        env = self.env
        declared = {name: getattr(env, name) for name in DECLARED}
        return env.observation_space, env.action_space, declared, psutil.Process().memory_info().rss

    def reset(self) -> Any:
        """Start new episodes; return the first observation and the info."""
        observation, info = self.env.reset(*self.connection.recv())
        return _arrays(observation), _arrays(info)

    def step(self) -> dict[str, Any]:
        """Take one step with the actions that follow; return the fields of the `Step`."""
        step = self.env.step(torch.from_numpy(self.connection.recv()).to(self.env.device))
        self.beat[STEPS] += 1
        return {each.name: _arrays(getattr(step, each.name)) for each in fields(step)}

    def render(self) -> np.ndarray:
        """Return a picture of the first environment."""
        return self.env.render()


def _arrays(value: Any) -> Any:
    """Return tensors, in dicts too, as arrays; anything else as it is."""
    if isinstance(value, dict):
        return {key: _arrays(part) for key, part in value.items()}
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
