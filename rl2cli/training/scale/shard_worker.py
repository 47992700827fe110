"""What steps shards: an acting copy of the algorithm, and the environments of the shards it was last given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.envs import make_env_adapter
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.spec.model import RunSpec
from rl2cli.training.build import build_algorithm
from rl2cli.training.clock import Clock
from rl2cli.training.collector import Collector
from rl2cli.training.scale.task import Failure, Layout, Outcome, State, Task, Weights, in_order, numbered
from rl2cli.training.seeding import make_generator
from rl2cli.training.signals import StopRequest

DEVICE = torch.device("cpu")
"""Of what acts: the same in every worker, so that it computes the same."""


@dataclass
class _Live:
    """A shard whose environments are where its last rollout left them."""

    collector: Collector
    iteration: int
    """The next."""
    exploration: list[torch.Tensor]


class ShardWorker:
    """Steps shards through rollouts, one at a time.

    Args:
        spec: The run, with every automatic choice made.
        layout: Its shards.
    """

    def __init__(self, spec: RunSpec, layout: Layout) -> None:
        self._seed, self._layout = spec.seed, layout
        env = spec.env.model_copy(update={"num_envs": layout.envs_per_shard, "workers": 0})
        self._spec = spec.model_copy(update={"env": env})
        self._actor: BaseAlgorithm | None = None
        self._version = -1
        self._live: dict[int, _Live] = {}
        self._spare: list[BaseEnvAdapter] = []

    def run(self, task: Task, weights: Weights, stop: StopRequest | None = None) -> Outcome | None:
        """Step a shard through a rollout; None where `stop` cut it short, and the shard has to be restored then."""
        try:
            return self._run(task, weights, stop)
        except Exception as error:
            self.forget(task.shard)
            rows = self._layout.rows(task.shard)
            where = f"in shard {task.shard} (environments {rows.start} to {rows.stop - 1})"
            failure = Failure.of(error)
            message = failure.message if failure.kind == "NonFiniteError" else f"{failure.message}, {where}"
            told = Failure(failure.kind, message, failure.hint, failure.place)
            return Outcome(task.number, task.shard, task.iteration, failure=told)

    @property
    def progress(self) -> float:
        """A number that changes with every step; read while another thread steps."""
        clocks = [live.collector.clock for live in list(self._live.values())]
        return sum(clock.environment + clock.policy for clock in clocks)

    def forget(self, shard: int) -> None:
        """Give up a shard that others step from now on; its environments serve the next one that comes."""
        live = self._live.pop(shard, None)
        if live is not None:
            self._spare.append(live.collector.env)

    def close(self) -> None:
        """Close every environment."""
        for env in [*self._spare, *(live.collector.env for live in self._live.values())]:
            env.close()
        self._live.clear()
        self._spare.clear()

    def _run(self, task: Task, weights: Weights, stop: StopRequest | None) -> Outcome | None:
        live = self._live.get(task.shard)
        if task.state is not None:
            self.forget(task.shard)
            live, problem = self._restored(task, task.state)
            if problem is not None:
                return Outcome(task.number, task.shard, task.iteration, not_restored=problem)
        if live is None or live.iteration != task.iteration:
            return Outcome(task.number, task.shard, task.iteration, is_unknown=True)
        self._take(weights)
        actor, collector = self._acting(live.collector.env), live.collector
        _copy(live.exploration, actor.exploration_tensors())
        if collector.collect(stop) is None:
            self.forget(task.shard)
            return None
        _copy(actor.exploration_tensors(), live.exploration)
        live.iteration += 1
        clock, env = collector.clock, collector.env
        columns = collector.rollout.columns()
        if task.state is not None and "seeds" in task.state:  # episodes that ran before have ended with their rollout
            columns["broken_off"] = list(range(env.num_envs))
        outcome = Outcome(
            task.number,
            task.shard,
            task.iteration,
            columns,
            _owned({**collector.get_state(), "exploration": numbered(live.exploration)}),
            clock.environment,
            clock.policy,
            clock.step_seconds,
            tuple(env.incidents),
            env.take_metrics(),
        )
        env.incidents.clear()
        clock.environment = clock.policy = 0.0
        return outcome

    def _restored(self, task: Task, state: State) -> tuple[_Live | None, str | None]:
        """Return a shard that goes on from `state`, or why it cannot."""
        env = self._spare.pop() if self._spare else make_env_adapter(self._spec.env, device=DEVICE)
        actor = self._acting(env)
        collector = Collector(actor, env, Clock())
        collector.explore = make_generator(self._seed, "policy", DEVICE, task.shard)
        exploration = [torch.zeros_like(each) for each in actor.exploration_tensors()]
        _copy(in_order(state.get("exploration") or {}) or self._unexplored, exploration)
        problem = None
        if "seeds" in state:
            if state.get("explore") is not None:
                collector.explore.set_state(torch.as_tensor(state["explore"]))
            collector.reset(state["seeds"])
        else:
            problem, _ = collector.set_state(_owned(state))
        if problem is not None:
            self._spare.append(env)
            return None, problem
        live = self._live[task.shard] = _Live(collector, task.iteration, exploration)
        return live, None

    def _acting(self, env: BaseEnvAdapter) -> BaseAlgorithm:
        """Return the copy that acts; it is built for the first environments there are."""
        if self._actor is None:
            self._actor = build_algorithm(self._spec, env, DEVICE)
            self._unexplored = [each.clone() for each in self._actor.exploration_tensors()]
        return self._actor

    @torch.no_grad()
    def _take(self, weights: Weights) -> None:
        """Act with `weights`."""
        if weights.version == self._version:
            return
        assert self._actor is not None
        _copy(weights.tensors, self._actor.acting_tensors())
        self._actor.take_frames(weights.frames)
        self._version = weights.version


@torch.no_grad()
def _copy(source: list[torch.Tensor], into: list[torch.Tensor]) -> None:
    for own, given in zip(into, source, strict=True):
        own.copy_(given)


def _owned(value: Any) -> Any:
    """Return a nested state whose tensors and arrays nothing else writes to."""
    if isinstance(value, dict):
        return {key: _owned(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_owned(part) for part in value)
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    return value.copy() if hasattr(value, "dtype") and hasattr(value, "shape") and value.shape else value
