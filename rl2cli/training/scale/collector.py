"""Rollouts of a run whose environments are stepped in shards, by whatever workers there are."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.keys import Trajectories
from rl2cli.reporting.progress import WorkerRow
from rl2cli.training.clock import Clock
from rl2cli.training.rollout import Rollout
from rl2cli.training.scale.declared import DeclaredEnvironments
from rl2cli.training.scale.engine import Engine
from rl2cli.training.scale.scheduler import Scheduler
from rl2cli.training.scale.task import Layout, Outcome, State, Weights, in_order, numbered
from rl2cli.training.seeding import environment_seeds
from rl2cli.training.signals import StopRequest

NOBODY = 10.0
"""Seconds without any worker after which that is said."""


class ShardedCollector:
    """Collects rollouts from shards; to the Trainer it is a `Collector`.

    Rollout k is collected with the weights of `max(0, k - lag)` updates, whoever collects it and how fast. Nothing that
    it returns, or that a checkpoint has of it, depends on the workers.

    Args:
        algorithm: Learns; its copies act.
        env: What the environments are like; it is not stepped.
        clock: Told how long the learner waited.
        engine: Runs the workers.
        layout: The shards.
        lag: Updates by which the acting weights are behind.
        seed: The run's.
        tell: Told of workers that are lost, with their place, and of what else should be known, with -1.
    """

    def __init__(
        self,
        algorithm: BaseAlgorithm,
        env: DeclaredEnvironments,
        clock: Clock,
        engine: Engine,
        layout: Layout,
        lag: int,
        seed: int,
        tell: Callable[[str, int], None] = lambda text, worker: None,
    ) -> None:
        self.algorithm, self.env, self.clock = algorithm, env, clock
        self.rollout = Rollout(algorithm.rollout_length, layout.num_envs, env.observation_space, algorithm.task.device)
        """The last one that `collect` returned."""
        self.started = False
        self.scheduler = Scheduler(engine, lag, self._reseed, tell)
        self._engine, self._layout, self._lag, self._seed, self._tell = engine, layout, lag, seed, tell
        self._iteration = 0
        self._frames = 0  # that the algorithm has learned from
        self._weights: dict[int, Weights] = {}
        self._anew = 0
        self._known: Counter[int] = Counter()
        self._asked = time.perf_counter()

    def reset(self, seeds: np.ndarray) -> None:
        """Start every environment anew, with a seed [N] for each; generators go on."""
        rows = [self._layout.rows(shard) for shard in range(self._layout.shards)]
        kept: list[State] = self.scheduler.states() or [{} for _ in rows]
        states = [{**_generators(state), "seeds": seeds[each]} for state, each in zip(kept, rows, strict=True)]
        self.scheduler.begin(states, self._iteration)
        self.started = True

    def collect(self, stop: StopRequest | None = None) -> Trajectories | None:
        """Return the next rollout, whose tensors are overwritten by later ones; None where `stop` cut it short.

        What was collected of it is dropped then, since the state has the shards as they were before.
        """
        began = time.perf_counter()
        self._publish()
        self.scheduler.ask(self._iteration + self._lag)
        outcomes = self._wait(stop, began)
        if outcomes is None:
            return None
        self._count(outcomes, time.perf_counter() - began)
        self._iteration += 1
        self._drop_weights()
        self.env.incidents += [*self.scheduler.incidents, *(text for each in outcomes for text in each.incidents)]
        self.scheduler.incidents.clear()
        self.env.reported += [each.metrics for each in outcomes if each.metrics]
        trajectories = self.rollout.gather([each.columns for each in outcomes if each.columns is not None])
        self._frames += self.rollout.frames
        return trajectories

    def close(self) -> None:
        """Do nothing: the workers end with whoever started them."""

    def workers(self) -> tuple[WorkerRow, ...]:
        """Return what each worker has done since this was asked last."""
        now, workers = time.perf_counter(), self.scheduler.workers
        seconds, self._asked = max(now - self._asked, 1e-9), now
        frames = self.algorithm.rollout_length * self._layout.envs_per_shard
        rates = {place: (each.rollouts - self._known[place]) * frames / seconds for place, each in workers.items()}
        rows = [
            WorkerRow(place, each.name, each.is_alive, rates[place], each.restarts)
            for place, each in sorted(workers.items())
        ]
        self._known = Counter({place: each.rollouts for place, each in workers.items()})
        return tuple(rows)

    def get_state(self) -> dict[str, Any]:
        """Return what the next rollout depends on, besides the algorithm."""
        needed = range(max(0, self._iteration - self._lag), self._iteration)
        kept = {str(version): self._weights[version] for version in needed}
        states = self.scheduler.states()
        running = {str(shard): each["environments"] for shard, each in enumerate(states) if "seeds" not in each}
        return {
            "environments": None if None in running.values() else running,
            "shards": {str(shard): _without_environments(each) for shard, each in enumerate(states)},
            "iteration": self._iteration,
            "frames": self._frames,
            "acting": {
                version: {"frames": weights.frames, "tensors": numbered(weights.tensors)}
                for version, weights in kept.items()
            },
        }

    def set_state(self, state: dict[str, Any]) -> tuple[str | None, bool]:
        """Go on from `get_state`; see `Collector.set_state`."""
        self._iteration, self._frames = state["iteration"], state["frames"]
        self._weights.clear()
        for version, kept in state["acting"].items():
            weights = Weights(int(version), kept["frames"], in_order(kept["tensors"]))
            self._weights[weights.version] = weights
            self._engine.publish(weights)
        running, shards = state["environments"], range(self._layout.shards)
        states: list[State] = [dict(state["shards"][str(shard)]) for shard in shards]
        for shard in shards if running is not None else ():
            if str(shard) in running:
                states[shard]["environments"] = running[str(shard)]
        self.scheduler.begin(states, self._iteration)
        self.started = True
        return (None if running is not None else "the running episodes cannot be restored"), False

    def _publish(self) -> None:
        """Make the algorithm's weights known, as those after so many updates as there were rollouts."""
        tensors = [each.detach().to("cpu", copy=True) for each in self.algorithm.acting_tensors()]
        weights = self._weights[self._iteration] = Weights(self._iteration, self._frames, tensors)
        self._engine.publish(weights)

    def _drop_weights(self) -> None:
        """Forget weights that act in no later rollout."""
        for version in [each for each in self._weights if each < self._iteration - self._lag]:
            del self._weights[version]
            self._engine.drop(version)

    def _wait(self, stop: StopRequest | None, began: float) -> list[Outcome] | None:
        said = False
        while True:
            outcomes = self.scheduler.take(stop)
            if outcomes is not None or (stop is not None and stop.is_set):
                return outcomes
            if not said and not self.scheduler.alive and time.perf_counter() - began > NOBODY:
                self._tell("there is no worker at the moment; the run goes on as soon as there is one", -1)
                said = True

    def _count(self, outcomes: list[Outcome], waited: float) -> None:
        """Tell the clock what the workers did meanwhile."""
        environment, policy = (sum(getattr(each, name) for each in outcomes) for name in _SECONDS)
        share = environment / max(environment + policy, 1e-9)
        self.clock.environment += waited * share
        self.clock.policy += waited * (1.0 - share)
        self.clock.step_seconds = sum(each.step_seconds for each in outcomes) / len(outcomes)

    def _reseed(self, shard: int, iteration: int) -> State:
        """Return the state in which a shard that was lost begins anew."""
        self._anew += 1
        seeds = environment_seeds(
            self._seed, f"environments of iteration {iteration}", self._layout.num_envs, self._anew
        )
        return {"seeds": seeds[self._layout.rows(shard)]}


_SECONDS = ("environment_seconds", "policy_seconds")


def _generators(state: State) -> State:
    """Return of a shard's state what goes on when its environments begin anew."""
    return {key: state[key] for key in ("explore", "exploration") if key in state}


def _without_environments(state: State) -> State:
    return {key: value for key, value in state.items() if key != "environments"}
