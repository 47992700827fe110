"""What is changed in this process while it connects to Ray, and put back: variables, folder, signals, names of Ray."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rl2cli.training.learners.place import is_of_torchrun

_TRIES = 3
"""How often Ray asks a cluster that refuses it, about a second each; 20 unless changed."""
_CHANGED = ("PYTHONPATH", "PYTHONBREAKPOINT")
"""Variables that a cluster changes besides those called `RAY_…`."""


class Variables:
    """The variables of the environment that a cluster changes, as they are when this is made."""

    def __init__(self) -> None:
        self._before = self._now()

    def put_back(self) -> None:
        """Let them be as they were."""
        for name in self._now():
            del os.environ[name]
        os.environ.update(self._before)

    @staticmethod
    def _now() -> dict[str, str]:
        return {name: each for name, each in os.environ.items() if name.startswith("RAY_") or name in _CHANGED}


@contextmanager
def connecting(folder: Path, *, own: bool) -> Iterator[Any]:
    """Import Ray, and have the block connect to it from an empty `folder`; `own` is for a cluster that it starts."""
    with _without_torchrun(), _signals_kept(), _current_folder(folder), _ray_imported(own=own) as ray:
        yield ray


def disconnect() -> None:
    """Leave the cluster, or end the one that this process started."""
    ray = sys.modules.get("ray")
    if ray is not None:
        with _signals_kept():
            ray.shutdown()


def ray_node() -> Any:
    """Return what Ray knows of the processes that it started from here; None where it is not connected."""
    ray = sys.modules.get("ray")
    return None if ray is None else ray._private.worker._global_node


@contextmanager
def _ray_imported(*, own: bool) -> Iterator[Any]:
    """Import Ray so that a cluster of our own is on the loopback address."""
    import ray
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER, ray_constants.NUM_REDIS_GET_RETRIES
    ray._private.worker._worker_logs_enabled = False  # else it prints on stdout what it thinks of lost workers
    _read_authentication_again()
    if own:
        from ray._private.authentication.authentication_utils import is_token_auth_enabled

        if not is_token_auth_enabled():
            raise RuntimeError("it would ask nobody for a token")
        ray_constants.ENABLE_RAY_CLUSTER = False  # read from the environment when Ray was first imported
    else:
        ray_constants.NUM_REDIS_GET_RETRIES = _TRIES
    try:
        with _sessions_of_their_own():
            yield ray
    finally:
        ray_constants.ENABLE_RAY_CLUSTER, ray_constants.NUM_REDIS_GET_RETRIES = before


def _read_authentication_again() -> None:
    """Have Ray see what the environment says of tokens now, where it was imported before."""
    with suppress(ImportError, AttributeError):  # none of it is public; whether it took effect is checked
        from ray._raylet import AuthenticationTokenLoader, Config

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _sessions_of_their_own() -> Iterator[None]:
    """Have Ray's processes in no group with this one, which torchrun, a terminal or a scheduler signals as a whole.

    This one saves then, and ends them.
    """
    from ray._private import utils

    bind = getattr(utils, "set_kill_on_parent_death_linux", None)  # what each of them calls before it begins
    if bind is None or not sys.platform.startswith("linux"):
        yield
        return

    def begin() -> None:
        os.setsid()
        bind()

    utils.set_kill_on_parent_death_linux = begin
    try:
        yield
    finally:
        utils.set_kill_on_parent_death_linux = bind


@contextmanager
def _without_torchrun() -> Iterator[None]:
    """Hide what torchrun says of this learner from processes that are started: a worker is none."""
    told = {name: value for name, value in os.environ.items() if is_of_torchrun(name)}
    for name in told:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(told)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep the handlers of signals, of which Ray replaces one."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        with suppress(ValueError):  # not in the main thread, where Ray replaces none
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _current_folder(folder: Path) -> Iterator[None]:
    """Be in another folder: Ray has its workers look for modules in the current one before all others."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
