"""Which worker steps which shard: tasks are given out, done again where a worker is lost, and their answers kept."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from rl2cli.errors import EnvironmentFault
from rl2cli.training.scale.engine import Answered, Engine, Event, Joined, Lost, Noted
from rl2cli.training.scale.task import Outcome, State, Task
from rl2cli.training.signals import StopRequest

MOST_ATTEMPTS = 5
"""Workers that one task may take with it before the run ends: its environments end whatever steps them."""


@dataclass
class _Flight:
    """A task that a worker has."""

    number: int
    shard: int
    iteration: int


@dataclass
class WorkerState:
    """What the learner knows of a worker."""

    name: str = ""
    is_alive: bool = False
    flights: deque[_Flight] = field(default_factory=deque)
    """Its tasks, in the order in which it does them."""
    seconds: float | None = None
    """Of a task, about."""
    rollouts: int = 0
    """Answers of all that had this place."""
    restarts: int = 0

    @property
    def waiting(self) -> list[_Flight]:
        """The tasks that it has not begun."""
        return list(self.flights)[1:]


@dataclass
class _Shard:
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
    def answered(self) -> int:
        """The first iteration without an answer."""
        return self.iteration + len(self.outcomes)

    @property
    def latest(self) -> State:
        """Its state at the beginning of `answered`."""
        last = self.outcomes.get(self.answered - 1)
        return self.state if last is None or last.state is None else last.state


class Scheduler:
    """Gives the tasks of shards to the workers of an engine.

    A shard's tasks are all with one worker, in order; that worker keeps its environments, so that a state is sent
    only when a shard moves: at first, when its worker is lost, and when another one would sooner be done with it.

    Args:
        engine: Runs the workers.
        lag: Updates by which the acting weights are behind.
        reseed: Returns the state in which a shard begins anew, for one that cannot be restored.
        tell: Told what happened to workers, and whether it is a warning.
    """

    def __init__(
        self,
        engine: Engine,
        lag: int,
        reseed: Callable[[int, int], State],
        tell: Callable[[str, int], None] = lambda text, worker: None,
    ) -> None:
        self.engine, self._lag, self._reseed, self._tell = engine, lag, reseed, tell
        self.workers: dict[int, WorkerState] = {}
        self.incidents: list[str] = []
        """What happened to shards that ends a run's exactness, in words."""
        self._shards: list[_Shard] = []
        self._to_give: set[int] = set()
        self._complete = 0  # shards with the outcome that is learned from next
        self._homes: Counter[int] = Counter()
        self._attempts: Counter[tuple[int, int]] = Counter()
        self._last_number = 0

    def begin(self, states: list[State], iteration: int) -> None:
        """Go on from the states that the shards have at the beginning of an iteration; what is under way is dropped."""
        for worker in self.workers.values():
            for flight in list(worker.flights):
                self._withdraw(flight.shard)
        self._shards = [_Shard(state, iteration, iteration) for state in states]
        self._complete = 0
        self._attempts.clear()
        self._homes.clear()

    def states(self) -> list[State]:
        """Return the shards' states at the beginning of the iteration that is learned from next."""
        return [shard.state for shard in self._shards]

    def ask(self, iteration: int) -> None:
        """Have rollouts collected up to those of `iteration`."""
        for shard in self._shards:
            shard.asked = iteration + 1
        self._to_give.update(range(len(self._shards)))
        self._give_out()

    def take(self, stop: StopRequest | None, timeout: float = 1.0) -> list[Outcome] | None:
        """Return the outcomes of the iteration that is learned from next, in the order of shards.

        None where they are not there after `timeout` seconds in which nothing happened, or `stop` was set.

        Raises:
            RL2Error: A task raised it, or the engine.
        """
        while self._complete < len(self._shards):
            events = self.engine.poll(timeout, stop)
            for event in events:
                self._handle(event)
            self._give_out()
            if not events:
                return None
        return [self._consumed(shard) for shard in self._shards]

    @property
    def alive(self) -> int:
        """Number of workers that can be given tasks."""
        return sum(worker.is_alive for worker in self.workers.values())

    def _consumed(self, shard: _Shard) -> Outcome:
        outcome = shard.outcomes.pop(shard.iteration)
        assert outcome.state is not None
        shard.state = outcome.state
        self._attempts.pop((outcome.shard, outcome.iteration), None)
        shard.iteration += 1
        self._complete -= not shard.outcomes
        return outcome

    # --- what happens ---

    def _handle(self, event: Event) -> None:
        if isinstance(event, Joined):
            worker = self.workers.setdefault(event.worker, WorkerState())
            worker.is_alive, worker.name = True, event.name
        elif isinstance(event, Answered):
            self._answered(event.worker, event.outcome)
        elif isinstance(event, Lost):
            self._lost(event)
        elif isinstance(event, Noted):
            self._tell(event.text, -1)

    def _answered(self, place: int, outcome: Outcome) -> None:
        worker = self.workers[place]
        flight = next((each for each in worker.flights if each.number == outcome.number), None)
        if flight is None:
            return  # of a task that was lost or withdrawn, and that another worker does
        worker.flights.remove(flight)
        shard = self._shards[outcome.shard]
        if outcome.failure is not None:
            raise outcome.failure.rebuilt(worker.name or f"worker {place}")
        shard.flying -= 1
        if outcome.is_unknown or outcome.not_restored is not None:
            self._withdraw(outcome.shard)
            self._settle(shard, None)
            self._to_give.add(outcome.shard)
            if outcome.not_restored is not None:
                self._begin_anew(outcome.shard, outcome.not_restored)
            return
        worker.rollouts += 1
        worker.seconds = outcome.seconds if worker.seconds is None else 0.7 * worker.seconds + 0.3 * outcome.seconds
        self._complete += not shard.outcomes
        shard.outcomes[outcome.iteration] = outcome

    def _lost(self, event: Lost) -> None:
        """Have others do what a lost worker had to do."""
        worker = self.workers.setdefault(event.worker, WorkerState())
        begun = worker.flights[0] if worker.flights else None
        worker.is_alive, worker.seconds = False, None
        worker.restarts += 1
        worker.flights.clear()
        self._tell(event.reason, event.worker)
        for number, shard in enumerate(self._shards):
            if shard.home == event.worker:
                shard.flying = 0
                self._settle(shard, None)
                self._to_give.add(number)
                self._require_restorable(number, shard)
        if begun is not None:
            self._attempts[begun.shard, begun.iteration] += 1
            if self._attempts[begun.shard, begun.iteration] >= MOST_ATTEMPTS:
                raise EnvironmentFault(
                    f"{MOST_ATTEMPTS} workers in turn were lost while they stepped shard {begun.shard}: {event.reason}",
                    hint="its environments end or hang what steps them: `rl2 check-env` tries one out; where they only "
                    "take long without letting Python run, set scale.lost_after",
                )

    def _require_restorable(self, number: int, shard: _Shard) -> None:
        """Begin a shard anew whose environments were lost and have no state."""
        if "seeds" not in shard.latest and shard.latest.get("environments") is None:
            self._begin_anew(number, "its running episodes cannot be restored")

    def _begin_anew(self, number: int, reason: str) -> None:
        shard = self._shards[number]
        self.incidents.append(
            f"shard {number} was lost, and {reason}: it begins new episodes, and the run is not exact any more"
        )
        state = shard.latest
        state.pop("environments", None)
        state.update(self._reseed(number, shard.answered))

    # --- who does what ---

    def _give_out(self) -> None:
        if not self.alive:
            return
        for number in sorted(self._to_give):
            self._give(number)
        self._to_give.clear()
        for thief in [place for place, worker in self.workers.items() if worker.is_alive and not worker.flights]:
            self._relieve(thief)

    def _give(self, number: int) -> None:
        """Submit what no worker has of a shard; what one has are the first iterations without an answer."""
        shard = self._shards[number]
        if shard.home is None:
            alive = [place for place, worker in self.workers.items() if worker.is_alive]
            self._settle(shard, min(alive, key=lambda place: (self._homes[place], place)))
        assert shard.home is not None
        for iteration in range(shard.answered + shard.flying, shard.asked):
            self._last_number += 1
            state = None if shard.is_live else shard.latest
            task = Task(self._last_number, number, iteration, max(0, iteration - self._lag), state)
            self.workers[shard.home].flights.append(_Flight(task.number, number, iteration))
            shard.flying += 1
            shard.is_live = True
            self.engine.submit(shard.home, task)

    def _settle(self, shard: _Shard, home: int | None) -> None:
        """Give a shard another home, where it is not yet."""
        if shard.home is not None:
            self._homes[shard.home] -= 1
        if home is not None:
            self._homes[home] += 1
        shard.home, shard.is_live = home, False

    def _relieve(self, thief: int) -> None:
        """Move a shard that waits to a worker with nothing to do, where that is sooner done with it."""
        found = [(len(worker.waiting), place) for place, worker in self.workers.items() if worker.is_alive]
        count, victim = max(found)
        if not count or not self._pays(self.workers[victim], self.workers[thief], count):
            return
        begun = self.workers[victim].flights[0].shard
        number = next((each.shard for each in reversed(self.workers[victim].waiting) if each.shard != begun), None)
        if number is None or self._shards[number].latest.get("environments", ()) is None:
            return
        self._withdraw(number)
        self._settle(self._shards[number], thief)
        self._give(number)

    @staticmethod
    def _pays(victim: WorkerState, thief: WorkerState, waiting: int) -> bool:
        """Return whether the thief is done with one more task, and its restoring, before the victim with all it has."""
        if victim.seconds is None or thief.seconds is None:
            return waiting >= 2
        return (waiting + 0.5) * victim.seconds > 2.0 * thief.seconds

    def _withdraw(self, number: int) -> None:
        """Take a shard's tasks back from its worker."""
        shard = self._shards[number]
        if shard.home is None:
            return
        worker = self.workers[shard.home]
        numbers = [each.number for each in worker.flights if each.shard == number]
        worker.flights = deque(each for each in worker.flights if each.shard != number)
        shard.flying, shard.is_live = 0, False
        if worker.is_alive:
            self.engine.withdraw(shard.home, number, numbers)
