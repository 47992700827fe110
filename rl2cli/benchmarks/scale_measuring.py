"""What the parts of a sharded run cost on this machine: the learner's work, a worker's and, where asked for, Ray's.

`python -m rl2cli.benchmarks.scale_measuring SPEC`, with a run spec as JSON, prints them as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.benchmarks.waiting import register
from rl2cli.spec import load_spec_dict
from rl2cli.spec.model import RunSpec
from rl2cli.training.build import Parts, build
from rl2cli.training.rollout import Rollout
from rl2cli.training.scale.engine import Answered, Engine
from rl2cli.training.scale.local import LocalEngine
from rl2cli.training.scale.task import Layout, Outcome, Task, Weights, layout_of
from rl2cli.training.seeding import environment_seeds

ROUNDS = 5
"""Measurements of each kind, of which the median counts."""
LARGE = 2**25
"""Bytes of the weights by which the engine's speed for large things is measured."""
SETTLED = 0.5
"""Seconds after which a task that takes milliseconds has been answered."""


def measure(spec: dict[str, Any]) -> dict[str, float]:
    """Return the `Costs` of a run by name; those of its engine only where that is Ray.

    Raises:
        RL2Error: The run cannot be built, or Ray not be started.
    """
    parts = build(load_spec_dict(spec).spec)
    try:
        plan = parts.plan.spec
        layout = layout_of(plan)
        engine = LocalEngine(plan, layout)
        found = _work(parts, _Tasks(engine, parts.algorithm, layout, plan.seed), layout)
        engine.close()
        assert plan.scale is not None
        if plan.scale.engine == "ray":
            found |= _of_ray(plan, parts.algorithm, layout)
        return found
    finally:
        parts.close()


class _Tasks:
    """Gives one worker of an engine tasks, and waits for its answers."""

    def __init__(self, engine: Engine, algorithm: BaseAlgorithm, layout: Layout, seed: int) -> None:
        self.engine, self._algorithm, self._layout = engine, algorithm, layout
        self._seeds = environment_seeds(seed, "environments", layout.num_envs)
        self._asked = [0] * layout.shards  # rollouts of each shard that were asked for
        self._number = 0
        self.version = -1

    def weights(self) -> Weights:
        """Return the algorithm's weights as a new version."""
        self.version += 1
        tensors = [each.detach().to("cpu", copy=True) for each in self._algorithm.acting_tensors()]
        return Weights(self.version, 0, tensors)

    def submit(self, shard: int) -> None:
        """Give out the next rollout of a shard."""
        self._number += 1
        iteration = self._asked[shard]
        self._asked[shard] += 1
        state = {"seeds": self._seeds[self._layout.rows(shard)]} if not iteration else None
        self.engine.submit(0, Task(self._number, shard, iteration, self.version, state))

    def done(self, shards: range) -> list[Outcome]:
        """Return the next rollouts of these shards."""
        for shard in shards:
            self.submit(shard)
        return self.answers(len(shards))

    def answers(self, count: int) -> list[Outcome]:
        """Return the next answers, in order of shards."""
        found: list[Outcome] = []
        while len(found) < count:
            events = self.engine.poll(1.0)
            found += [each.outcome for each in events if isinstance(each, Answered)]
        for each in found:
            if each.failure is not None:
                raise each.failure.rebuilt("measuring")
        return sorted(found, key=lambda outcome: outcome.shard)


def _work(parts: Parts, tasks: _Tasks, layout: Layout) -> dict[str, float]:
    """Return what steps, actions, tasks and updates take, and how large everything is."""
    algorithm, frames = parts.algorithm, layout.num_envs * parts.algorithm.rollout_length
    rollout = Rollout(algorithm.rollout_length, layout.num_envs, parts.env.observation_space, algorithm.task.device)
    done: list[Outcome] = []
    besides, learning = [], []
    for turn in range(ROUNDS + 1):
        tasks.engine.publish(tasks.weights())
        seconds, outcomes = _timed(partial(tasks.done, range(layout.shards)))
        columns = [each.columns for each in outcomes if each.columns is not None]
        learned, _ = _timed(partial(_learn, algorithm, rollout, columns, turn * frames))
        if turn:  # the first one makes environments, and allocates
            done += outcomes
            besides.append((seconds - sum(each.seconds for each in outcomes)) / layout.shards)
            learning.append(learned / frames)
    task_frames = frames / layout.shards
    return {
        "step_seconds": median(each.environment_seconds for each in done) / task_frames,
        "act_seconds": median(each.policy_seconds for each in done) / algorithm.rollout_length,
        "task_seconds": median(besides),
        "learn_seconds": median(learning),
        "frame_bytes": median(_bytes(each.columns) for each in done) / task_frames,
        "state_bytes": median(_bytes(each.state) for each in done),
        "weight_bytes": float(_bytes(algorithm.acting_tensors())),
    }


def _learn(algorithm: BaseAlgorithm, rollout: Rollout, columns: list[dict[str, Any]], frames: int) -> None:
    """Do what a learner does with a rollout that came in parts; `frames` is the number of frames before it."""
    trajectories = rollout.gather(columns)
    rollout.check_finite(frames)
    algorithm.update(trajectories, frames + rollout.frames)


def _of_ray(plan: RunSpec, algorithm: BaseAlgorithm, layout: Layout) -> dict[str, float]:
    """Return what Ray adds, with one worker of this machine and environments that take no time."""
    from rl2cli.training.scale.ray_engine import RayEngine

    assert plan.scale is not None
    options = plan.env.options
    quick = options.model_copy(update={"step_seconds": 0.0}) if hasattr(options, "step_seconds") else options
    env = plan.env.model_copy(update={"options": quick})
    plan = plan.model_copy(update={"env": env, "scale": plan.scale.model_copy(update={"workers": 1})})
    engine = RayEngine.start(plan, layout, lambda text: print(text, file=sys.stderr))
    try:
        found, stepping = _turns(_Tasks(engine, algorithm, layout, plan.seed), range(layout.shards))
    finally:
        engine.close()
    task = (found["all"] - found["one"]) / max(1, layout.shards - 1)
    return {
        "publish_seconds": found["publish"],
        "submit_seconds": found["submit"],
        "answer_seconds": found["answer"],
        "task_seconds": max(0.0, task - stepping),
        "trip_seconds": max(0.0, found["one"] - task - found["submit"] - found["answer"]),
        "bytes_per_second": LARGE / max(1e-9, found["large"] - found["publish"]),
    }


def _turns(tasks: _Tasks, shards: range) -> tuple[dict[str, float], float]:
    """Return the median seconds of each kind of the engine's work, and of a task's steps.

    `one` is a task alone from its submission to its answer, `all` one of each shard.
    """
    turns: list[dict[str, float]] = []
    stepping: list[float] = []
    for turn in range(ROUNDS + 1):
        weights = tasks.weights()
        large = replace(weights, version=-1 - turn, tensors=[torch.zeros(LARGE, dtype=torch.uint8)])
        seconds = {
            "publish": _timed(partial(tasks.engine.publish, weights))[0],
            "large": _timed(partial(tasks.engine.publish, large))[0],
            "submit": _timed(partial(tasks.submit, 0))[0],
        }
        tasks.engine.drop(large.version)
        time.sleep(SETTLED)
        seconds["answer"] = _timed(partial(tasks.answers, 1))[0]
        seconds["one"] = _timed(partial(tasks.done, range(1)))[0]
        seconds["all"], outcomes = _timed(partial(tasks.done, shards))
        if turn:  # the first one makes environments
            turns.append(seconds)
            stepping.append(sum(each.seconds for each in outcomes) / len(shards))
    return {name: median(each[name] for each in turns) for name in turns[0]}, median(stepping)


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call took, and what it returned."""
    before = time.perf_counter()
    found = call()
    return time.perf_counter() - before, found


def _bytes(value: Any) -> int:
    """Return what the arrays and numbers of a nested value take."""
    if isinstance(value, dict):
        return sum(_bytes(part) for part in value.values())
    if isinstance(value, list | tuple):
        return sum(_bytes(part) for part in value)
    if isinstance(value, torch.Tensor | np.ndarray):
        return int(value.nbytes)
    return 8 if isinstance(value, int | float) else 0


if __name__ == "__main__":
    register()
    print(json.dumps(measure(json.loads(sys.argv[1]))))
