"""What the learner knows of its workers and of the shards that they step."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from rl2cli.training.scale.task import Outcome, State


@dataclass
class Flight:
    """A task that a worker has."""

    number: int
    shard: int
    iteration: int


@dataclass
class WorkerState:
    """What the learner knows of a worker."""

    name: str = ""
    is_alive: bool = False
    flights: deque[Flight] = field(default_factory=deque)
    """Its tasks, in the order in which it does them."""
    seconds: float | None = None
    """Of a task, about."""
    rollouts: int = 0
    """Answers of all that had this place."""
    restarts: int = 0

    @property
    def waiting(self) -> int:
        """Number of tasks that it has not begun."""
        return max(0, len(self.flights) - 1)

    def would_relieve(self, other: WorkerState) -> bool:
        """Return whether it is done with one more task, and its restoring, before the other with all it has."""
        if self.seconds is None or other.seconds is None:
            return other.waiting >= 2
        return (other.waiting + 0.5) * other.seconds > 2.0 * self.seconds


@dataclass
class Shard:
    """A shard and its rollouts."""

    state: State
    """At the beginning of `iteration`."""
    iteration: int
    """The one that is learned from next."""
    asked: int
    """Iterations before this one are to be collected."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """Answers that were not learned from yet, by iteration."""
    home: int | None = None
    """The worker that has its tasks, or else stepped it last."""
    flying: int = 0
    """Its tasks that `home` has."""
    is_live: bool = False
    """Whether `home` has it as the last of its tasks and answers leave it."""

    @property
    def can_move(self) -> bool:
        """Whether another worker can go on from its latest state; a new one needs none."""
        return self.latest.get("environments", ()) is not None

    @property
    def answered(self) -> int:
        """The first iteration without an answer."""
        return self.iteration + len(self.outcomes)

    @property
    def latest(self) -> State:
        """Its state at the beginning of `answered`."""
        last = self.outcomes.get(self.answered - 1)
        return self.state if last is None or last.state is None else last.state
