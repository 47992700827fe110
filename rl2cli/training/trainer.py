"""The Trainer: one loop for every algorithm and every backend."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.checker import check_first_step
from rl2cli.errors import EnvironmentFault
from rl2cli.keys import ACTION, ACTION_MASK, Observation, Trajectories
from rl2cli.reporting.progress import Evaluation, Pace, Progress, Status
from rl2cli.reporting.view import View
from rl2cli.segment import Segment
from rl2cli.training.checkpoint import CheckpointStore
from rl2cli.training.episodes import EpisodeStatistics
from rl2cli.training.evaluation import Evaluator
from rl2cli.training.journal import Journal
from rl2cli.training.rollout import Rollout
from rl2cli.training.seeding import environment_seeds
from rl2cli.training.signals import StopRequest

HISTORY = 60
"""Mean returns kept for the sparkline."""
SHORTEST_SHARE = 0.2
"""Seconds over which the parts of the time say something."""


@dataclass(frozen=True)
class Schedule:
    """When the Trainer does what; all in frames."""

    seed: int
    total_frames: int
    evaluate_every: int
    checkpoint_every: int
    target_return: float | None
    record_every: int = 1
    """Frames between lines of metrics.jsonl."""


@dataclass
class Clock:
    """Seconds since the last report, by what they were spent on."""

    environment: float = 0.0
    policy: float = 0.0
    learning: float = 0.0
    started: float = 0.0
    latest: dict[str, float] = field(default_factory=dict)

    def shares(self) -> dict[str, float]:
        """Return the parts of the time since the last call, or the last ones if that was just now; their sum is 1."""
        now = time.perf_counter()
        whole = max(now - self.started, 1e-9)
        if self.latest and whole < SHORTEST_SHARE:
            return self.latest
        parts = {"environment": self.environment, "policy": self.policy, "learning": self.learning}
        shares = {key: value / whole for key, value in parts.items()}
        self.environment = self.policy = self.learning = 0.0
        self.started = now
        self.latest = shares | {"other": max(0.0, 1.0 - sum(shares.values()))}
        return self.latest


class Trainer:
    """Trains `algorithm` on `env`, and reports, evaluates and checkpoints on the way.

    Args:
        algorithm: Acts and learns.
        env: The vectorised adapter it learns on.
        evaluator: Measures the policy.
        store: Where checkpoints go.
        journal: Where metrics go.
        view: What the user sees.
        schedule: When what is done.
        metadata: What every checkpoint carries besides the state.
    """

    def __init__(
        self,
        algorithm: BaseAlgorithm,
        env: BaseEnvAdapter,
        evaluator: Evaluator,
        store: CheckpointStore,
        journal: Journal,
        view: View,
        schedule: Schedule,
        metadata: dict[str, Any],
    ) -> None:
        self.algorithm, self.env, self.evaluator = algorithm, env, evaluator
        self.store, self.journal, self.view = store, journal, view
        self.schedule, self.metadata = schedule, metadata
        self.explore = algorithm.task.make_generator("policy")
        self.rollout = Rollout(algorithm.rollout_length, env.num_envs, env.observation_space, algorithm.task.device)
        self.episodes = EpisodeStatistics(env.num_envs)
        self.frames = self.iteration = 0
        self.evaluation_seconds = 0.0
        self.metrics: dict[str, float] = {}
        self.evaluation: Evaluation | None = None
        self.best: Evaluation | None = None
        self.saved_frames: int | None = None
        self.return_history: deque[float] = deque(maxlen=HISTORY)
        self.clock = Clock()
        self.observation: Observation = {}
        self.action_mask: torch.Tensor | None = None
        self.started = self.checked = False

    # --- the loop ---

    def run(self, stop: StopRequest) -> Status:
        """Train until total_frames, the target return or a stop request, then save; return which it was."""
        self.pace = Pace(self.frames, self.schedule.total_frames)
        self.clock.started = time.perf_counter()
        if not self.started:
            self.reset_environments()
        status: Status = "finished"
        while self.frames < self.schedule.total_frames and status == "finished":
            trajectories = self.collect()
            self.learn(trajectories)
            self.report()
            is_best = self.evaluate_if_due(stop)
            if stop.signal_number is not None:
                status = "stopped"
            elif self.target_reached():
                status = "target reached"
            self.checkpoint_if_due(is_best, at_end=status != "finished")
        self.view.update(self.progress())
        self.journal.flush()
        self.store.wait()
        return status

    def collect(self) -> Trajectories:
        """Step the environments through one rollout."""
        rollout, clock = self.rollout, self.clock
        rollout.begin(self.observation, self.action_mask)
        after = time.perf_counter()
        for t in range(rollout.length):
            observation, action_mask = rollout.at(t)
            chosen = self.algorithm.behave(observation, self.explore, action_mask)
            before = time.perf_counter()
            clock.policy += before - after
            step = self.env.step(chosen[ACTION])
            after = time.perf_counter()
            clock.environment += after - before
            if not self.checked:
                self.check(observation, step)
            rollout.store(t, chosen, step)
        self.observation, self.action_mask = rollout.at(rollout.length)
        return rollout.finish()

    def check(self, observation: Observation, step: Step) -> None:
        """Check the first step of a session against the adapter contract: [N] against [N, 1] broadcasts silently."""
        check_first_step(self.env, observation, step)
        self.checked = True

    def learn(self, trajectories: Trajectories) -> None:
        """Update the algorithm with a rollout, count its frames, and keep the latest of each metric."""
        self.rollout.check_finite(self.frames)
        before = time.perf_counter()
        self.frames += self.rollout.frames
        metrics = self.algorithm.update(trajectories, self.frames)
        self.clock.learning += time.perf_counter() - before
        self.iteration += 1
        if metrics:
            self.metrics = self.metrics | metrics

    # --- what happens between iterations ---

    def report(self) -> None:
        """Count the episodes that ended, and record and show the run where that is due."""
        rollout = self.rollout
        valid = None if rollout.all_valid else rollout.valid.cpu().numpy()
        self.episodes.update(rollout.reward.cpu().numpy(), rollout.final_index.tolist(), valid)
        if self.is_due(self.schedule.record_every, self.frames - rollout.frames):
            self.record()
        if self.iteration == 1:
            self.journal.event("first_update", self.frames)
        if self.view.due():
            progress = self.progress()
            self.journal.speed(self.frames, {"frames_per_second": progress.frames_per_second_now, **progress.shares})
            self.journal.flush()
            self.view.update(progress)

    def is_due(self, every: int, last: int) -> bool:
        """Return whether what happens every so many frames, and at the end, is due, having happened at `last`.

        It depends on frames alone, so a resumed run does everything when the uninterrupted one does.
        """
        return self.frames // every != last // every or self.frames >= self.schedule.total_frames

    def record(self) -> None:
        """Write a line of metrics: the episodes so far, and the latest of what the algorithm reported."""
        return_mean, length_mean = self.episodes.means()
        values = {
            "rollout/episodes": self.episodes.count,
            "rollout/return_mean": return_mean,
            "rollout/length_mean": length_mean,
        }
        self.journal.iteration(self.frames, values | self.metrics)
        if return_mean is not None:
            self.return_history.append(return_mean)

    def progress(self) -> Progress:
        """Return where the run is, for the view."""
        rates = self.pace.measure(self.frames)
        return_mean, length_mean = self.episodes.means()
        return Progress(
            frames=self.frames,
            total_frames=self.schedule.total_frames,
            iteration=self.iteration,
            wall_seconds=rates.wall_seconds,
            frames_per_second_now=rates.now,
            frames_per_second_mean=rates.mean,
            eta_seconds=rates.eta_seconds,
            episodes=self.episodes.count,
            return_mean=return_mean,
            return_best=self.episodes.best_return,
            length_mean=length_mean,
            return_history=tuple(self.return_history),
            evaluation=self.evaluation,
            best=self.best,
            metrics=self.metrics,
            shares=self.clock.shares(),
            checkpoint_frames=self.saved_frames,
        )

    def evaluate_if_due(self, stop: StopRequest) -> bool:
        """Evaluate where enough frames have passed; return whether the policy is the best so far."""
        if not self.is_due(self.schedule.evaluate_every, 0 if self.evaluation is None else self.evaluation.frames):
            return False
        before = time.perf_counter()
        evaluation = self.evaluator.evaluate(self.algorithm, self.frames, stop)
        self.evaluation_seconds += time.perf_counter() - before
        if evaluation is None:
            return False
        is_best = self.best is None or _rank(evaluation) >= _rank(self.best)
        self.evaluation = evaluation if not is_best else _as_best(evaluation)
        if is_best:
            self.best = self.evaluation
        self.journal.evaluation(evaluation)
        self.journal.event("evaluation", self.frames, mean_return=evaluation.mean_return, episodes=evaluation.episodes)
        self.view.evaluated(self.evaluation, self.progress())
        return is_best

    def target_reached(self) -> bool:
        """Return whether the evaluation just made reached the target return."""
        target, evaluation = self.schedule.target_return, self.evaluation
        return (
            target is not None
            and evaluation is not None
            and evaluation.frames == self.frames
            and evaluation.mean_return >= target
        )

    def checkpoint_if_due(self, is_best: bool, at_end: bool) -> None:
        """Save where enough frames have passed, where the policy is the best so far, and at the end."""
        if not (self.is_due(self.schedule.checkpoint_every, self.saved_frames or 0) or is_best or at_end):
            return
        metadata = self.metadata | {"metrics_offset": self.journal.flush(fsync=True)}
        mean = self.evaluation.mean_return if is_best and self.evaluation is not None else None
        segments = self.algorithm.segments()
        self.store.save(self.frames, self.get_state(), metadata, best=is_best, evaluation_mean=mean, segments=segments)
        self.saved_frames = self.frames
        self.journal.event("checkpoint", self.frames)

    # --- state ---

    def reset_environments(self) -> None:
        """Start every environment anew, with seeds that depend on the frames trained so far."""
        seeds = environment_seeds(self.schedule.seed, "environments", self.env.num_envs, self.frames)
        self.observation, info = self.env.reset(seeds)
        self.action_mask = info.get(ACTION_MASK)
        self.episodes.forget_running()
        self.rollout.next_is_init.fill_(True)
        self.started = True

    def generators(self) -> dict[str, torch.Generator]:
        """Return every generator that training draws from."""
        return {"policy": self.explore, **self.algorithm.generators}

    def get_state(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on."""
        return {
            "frames": self.frames,
            "iteration": self.iteration,
            "algorithm": self.algorithm.state_dict(),
            "generators": {name: generator.get_state() for name, generator in self.generators().items()},
            "environments": self.env.get_state(),
            "next_is_init": self.rollout.next_is_init,
            "episodes": self.episodes.get_state(),
            "metrics": self.metrics,
            "evaluations": self.evaluator.count,
            "evaluation": _evaluation_state(self.evaluation),
            "best": _evaluation_state(self.best),
        }

    def set_state(self, state: dict[str, Any], segments: Sequence[Segment] = ()) -> list[str]:
        """Go on from `get_state` and its segments; return what could not be restored exactly, in words."""
        self.frames, self.iteration = state["frames"], state["iteration"]
        self.saved_frames = self.frames
        self.algorithm.load_state_dict(state["algorithm"])
        self.algorithm.load_segments(list(segments))
        self.episodes.set_state(state["episodes"])
        self.metrics = state["metrics"]
        self.rollout.next_is_init.copy_(state["next_is_init"])
        self.evaluator.count = state["evaluations"]
        self.evaluation = Evaluation(**state["evaluation"]) if state["evaluation"] else None
        self.best = Evaluation(**state["best"]) if state["best"] else None
        problem = self._restore_environments(state["environments"])
        if problem is not None:
            self.reset_environments()
        notes = [] if problem is None else [f"{problem}: they begin anew, so the run goes on, but not exactly"]
        return notes + self._set_generators(state["generators"])

    def _restore_environments(self, state: dict[str, Any] | None) -> str | None:
        """Put the running episodes back; return why that cannot be done, in words."""
        if state is None or self.env.resume == "none":
            return "the running episodes cannot be restored"
        try:
            self.observation, info = self.env.set_state(state)
        except EnvironmentFault as fault:
            return f"the running episodes could not be restored ({fault.message})"
        self.action_mask = info.get(ACTION_MASK)
        self.started = True
        return None

    def _set_generators(self, states: dict[str, torch.Tensor]) -> list[str]:
        try:
            for name, generator in self.generators().items():
                generator.set_state(states[name])
        except RuntimeError:
            return ["the checkpoint is from another kind of device: random numbers start anew, so bits will differ"]
        return []


def _rank(evaluation: Evaluation) -> tuple[float, float]:
    stochastic = evaluation.stochastic_mean
    return evaluation.mean_return, float("-inf") if stochastic is None else stochastic


def _as_best(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, is_best=True)


def _evaluation_state(evaluation: Evaluation | None) -> dict[str, Any] | None:
    return None if evaluation is None else asdict(evaluation)
