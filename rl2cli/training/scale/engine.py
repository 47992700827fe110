"""The seam between shards and what runs workers: everything that the scheduler asks of an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from rl2cli.training.scale.task import Outcome, Task, Weights
from rl2cli.training.signals import StopRequest


@dataclass(frozen=True)
class Joined:
    """A worker is ready for tasks."""

    worker: int
    """Its place among the workers; one that is started anew has the place of the one before."""
    name: str = ""
    """Where it runs, for people."""


@dataclass(frozen=True)
class Answered:
    """A worker has finished a task, in the order in which it was given them."""

    worker: int
    outcome: Outcome


@dataclass(frozen=True)
class Lost:
    """A worker is gone, with the tasks it had and the shards it held."""

    worker: int
    reason: str


@dataclass(frozen=True)
class Noted:
    """Something that its user should know, such as a worker that cannot be used."""

    text: str


Event: TypeAlias = "Joined | Answered | Lost | Noted"


class Engine(Protocol):
    """Runs workers. Every method is called from one thread."""

    def publish(self, weights: Weights) -> None:
        """Make weights known to the workers; tasks name them by version."""

    def drop(self, version: int) -> None:
        """Forget weights that no later task names."""

    def submit(self, worker: int, task: Task) -> None:
        """Give a task to a worker, which does its tasks in turn."""

    def withdraw(self, worker: int, shard: int, numbers: list[int]) -> None:
        """Take tasks of a shard back that the worker has hardly begun, and have it give up the shard."""

    def poll(self, timeout: float, stop: StopRequest | None = None) -> list[Event]:
        """Return what has happened, waiting for it for so many seconds at most, or until `stop` is set.

        Raises:
            RL2Error: The engine itself is gone.
        """

    def close(self) -> None:
        """End every worker, and everything that was started for them."""
