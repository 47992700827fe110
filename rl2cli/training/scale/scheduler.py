"""Which worker steps which shard: tasks are given out, done again where a worker is lost, and their answers kept."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace

from rl2cli.errors import EnvironmentFault
from rl2cli.training.scale.engine import Answered, Engine, Event, Joined, Lost, Noted
from rl2cli.training.scale.roster import Flight, Shard, WorkerState
from rl2cli.training.scale.task import Outcome, State, Task
from rl2cli.training.signals import StopRequest

MOST_ATTEMPTS = 5
"""Workers that one task may take with it before the run ends: its environments end whatever steps them."""
UNEVEN = 1.1
"""How many times as long as another one with one more shard a worker may take for its own, before that one has it."""


class Scheduler:
    """Gives the tasks of shards to the workers of an engine.

    A shard's tasks are all with one worker, in order; that worker keeps its environments, so that a state is sent
    only when a shard moves: at first, when its worker is lost, when another one would sooner be done with it, and when
    workers take unequally long for what they have. An answer costs the same for any number of workers, but where one
    has nothing to do while tasks wait elsewhere.

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
        self._shards: list[Shard] = []
        self._to_give: set[int] = set()
        self._complete = 0  # shards with the outcome that is learned from next
        self._homes: Counter[int] = Counter()
        self._is_level = False
        self._idle: set[int] = set()  # workers without a task
        self._queued: set[int] = set()  # workers with tasks that they have not begun
        self._thieves: set[int] = set()  # idle since tasks were looked for last
        self._attempts: Counter[tuple[int, int]] = Counter()
        self._last_number = 0

    def begin(self, states: list[State], iteration: int) -> None:
        """Go on from the states that the shards have at the beginning of an iteration; what is under way is dropped."""
        for worker in self.workers.values():
            for flight in list(worker.flights):
                self._withdraw(flight.shard)
        self._shards = [Shard(state, iteration, iteration) for state in states]
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
        self._level()
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
        """Workers that can be given tasks."""
        return sum(worker.is_alive for worker in self.workers.values())

    def _consumed(self, shard: Shard) -> Outcome:
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
            self._is_level = False
            self._sort(event.worker)
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
        self._sort(place)
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
        self._sort(event.worker)
        self._tell(event.reason, event.worker)
        for number, shard in enumerate(self._shards):
            if shard.home == event.worker:
                shard.flying = 0
                self._settle(shard, None)
                self._to_give.add(number)
                if "seeds" not in shard.latest and shard.latest.get("environments") is None:
                    self._begin_anew(number, "its running episodes cannot be restored")
        if begun is not None:
            self._attempts[begun.shard, begun.iteration] += 1
            if self._attempts[begun.shard, begun.iteration] >= MOST_ATTEMPTS:
                raise EnvironmentFault(
                    f"{MOST_ATTEMPTS} workers in turn were lost while they stepped shard {begun.shard}: {event.reason}",
                    hint="its environments end or hang what steps them: `rl2 check-env` tries one out; where they only "
                    "take long without letting Python run, set scale.lost_after",
                )

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
        if self._to_give:
            fewest = [(self._homes[place], place) for place, worker in self.workers.items() if worker.is_alive]
            if not fewest:
                return
            heapify(fewest)
            for number in sorted(self._to_give):
                if self._shards[number].home is None:
                    count, place = fewest[0]
                    heapreplace(fewest, (count + 1, place))
                    self._settle(self._shards[number], place)
                self._give(number)
            self._to_give.clear()
            self._thieves |= self._idle
        self._relieve(sorted(self._thieves & self._idle))
        self._thieves.clear()

    def _sort(self, place: int) -> None:
        """Keep who has how much to do, after that has changed for a worker."""
        worker = self.workers[place]
        (self._queued.add if worker.waiting else self._queued.discard)(place)
        if worker.is_alive and not worker.flights:
            self._idle.add(place)
            self._thieves.add(place)
        else:
            self._idle.discard(place)

    def _give(self, number: int) -> None:
        """Submit what its worker does not have of a shard; what it has are the first iterations without an answer."""
        shard = self._shards[number]
        assert shard.home is not None
        for iteration in range(shard.answered + shard.flying, shard.asked):
            self._last_number += 1
            state = None if shard.is_live else shard.latest
            task = Task(self._last_number, number, iteration, max(0, iteration - self._lag), state)
            self.workers[shard.home].flights.append(Flight(task.number, number, iteration))
            shard.flying += 1
            shard.is_live = True
            self._sort(shard.home)
            self.engine.submit(shard.home, task)

    def _settle(self, shard: Shard, home: int | None) -> None:
        """Give a shard another home, where it is not yet."""
        if shard.home is not None:
            self._homes[shard.home] -= 1
        if home is not None:
            self._homes[home] += 1
        shard.home, shard.is_live = home, False

    def _level(self) -> None:
        """Move shards from workers that take longest for theirs, after some joined or took over what waited."""
        known = [worker.seconds for worker in self.workers.values() if worker.is_alive and worker.seconds is not None]
        if self._is_level or not known:
            return
        self._is_level = True
        usual = sum(known) / len(known)
        seconds = {place: each.seconds or usual for place, each in self.workers.items() if each.is_alive}
        free: defaultdict[int | None, list[int]] = defaultdict(list)
        for number, shard in enumerate(self._shards):
            if shard.can_move and not self._is_begun(number):
                free[shard.home].append(number)
        slowest = [(-self._homes[place] * each, place) for place, each in seconds.items() if free[place]]
        soonest = [((self._homes[place] + 1) * each, place) for place, each in seconds.items()]
        heapify(slowest)
        heapify(soonest)
        while slowest and -slowest[0][0] > UNEVEN * soonest[0][0]:
            victim, thief = heappop(slowest)[1], soonest[0][1]
            self._move(free[victim].pop(), thief)
            heapreplace(soonest, ((self._homes[thief] + 1) * seconds[thief], thief))
            if free[victim]:
                heappush(slowest, (-self._homes[victim] * seconds[victim], victim))

    def _is_begun(self, number: int) -> bool:
        """Return whether its worker is, as far as is known, stepping the shard."""
        home = self._shards[number].home
        return home is not None and any(each.shard == number for each in list(self.workers[home].flights)[:1])

    def _relieve(self, thieves: list[int]) -> None:
        """Move shards that wait to workers with nothing to do, where those are sooner done with them."""
        busiest = [(-self.workers[place].waiting, -place) for place in self._queued] if thieves else []
        heapify(busiest)
        for thief in thieves:
            if not busiest:
                return
            victim = -busiest[0][1]
            begun, *waiting = self.workers[victim].flights
            if not self.workers[thief].would_relieve(self.workers[victim]):
                continue
            number = next((each.shard for each in reversed(waiting) if each.shard != begun.shard), None)
            if number is None or not self._shards[number].can_move:
                continue
            heappop(busiest)
            self._is_level = False
            self._move(number, thief)
            self._give(number)
            for place in (victim, thief):
                if self.workers[place].waiting:
                    heappush(busiest, (-self.workers[place].waiting, -place))

    def _move(self, number: int, home: int) -> None:
        self._withdraw(number)
        self._settle(self._shards[number], home)

    def _withdraw(self, number: int) -> None:
        """Take a shard's tasks back from its worker."""
        shard = self._shards[number]
        if shard.home is None:
            return
        worker = self.workers[shard.home]
        numbers = [each.number for each in worker.flights if each.shard == number]
        worker.flights = deque(each for each in worker.flights if each.shard != number)
        shard.flying, shard.is_live = 0, False
        self._sort(shard.home)
        if worker.is_alive:
            self.engine.withdraw(shard.home, number, numbers)
