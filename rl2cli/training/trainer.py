"""The Trainer: one loop for every algorithm and every backend."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.keys import Trajectories
from rl2cli.reporting.progress import Evaluation, Pace, Progress, Status, WorkerRow
from rl2cli.reporting.view import View
from rl2cli.segment import Segment
from rl2cli.training.checkpoint import CheckpointStore
from rl2cli.training.clock import Clock
from rl2cli.training.collector import Collector, OverlappedCollector
from rl2cli.training.episodes import EpisodeStatistics
from rl2cli.training.evaluation import Evaluator
from rl2cli.training.filming import Filming
from rl2cli.training.finite import WeightCheck
from rl2cli.training.journal import Journal
from rl2cli.training.resume_notice import STEP_SECONDS
from rl2cli.training.saving import Content, OnStorageError, Saver
from rl2cli.training.seeding import environment_seeds
from rl2cli.training.signals import StopRequest

if TYPE_CHECKING:
    from rl2cli.training.scale.collector import ShardedCollector
    from rl2cli.training.scale.sharding import Sharding

OTHER_DEVICE = "the checkpoint is from another kind of device: random numbers start anew, so bits will differ"
MOST_REASONS = 100
"""Reasons for not being exact that a checkpoint keeps."""
HISTORY = 60
"""Mean returns kept for the sparkline."""


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
    on_storage_error: OnStorageError = "continue"
    """Whether a save that the disk refuses stops the run."""


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
        actor: Another algorithm of the same kind, which collects the next rollout while `algorithm` learns; None where
            collecting and learning take turns.
        filming: Makes videos of the policy; None where there are none.
        sharding: Who steps the environments where that is not `env`; None where it is.
        tell: Told of every rollout and the frames with it, before the algorithm learns from it; None for nobody.
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
        actor: BaseAlgorithm | None = None,
        filming: Filming | None = None,
        sharding: Sharding | None = None,
        tell: Callable[[Trajectories, int], None] | None = None,
    ) -> None:
        self.algorithm, self.env, self.evaluator = algorithm, env, evaluator
        self.journal, self.view, self.schedule = journal, view, schedule
        self.saver = Saver(store, journal, view, metadata, schedule.on_storage_error)
        self.filming, self.tell = filming, tell
        self.clock = Clock()
        self.collector = self._make_collector(actor, sharding)
        self.weights = WeightCheck(algorithm)
        self.episodes = EpisodeStatistics(env.num_envs)
        self.frames = self.iteration = 0
        self.evaluation_seconds = 0.0
        self.metrics: dict[str, float] = {}
        self.evaluation: Evaluation | None = None
        self.best: Evaluation | None = None
        self.inexact: list[str] = []
        """Why the seed alone does not decide the run any more; empty where it does."""
        self.return_history: deque[float] = deque(maxlen=HISTORY)

    def _make_collector(self, actor: BaseAlgorithm | None, sharding: Sharding | None) -> Collector | ShardedCollector:
        if sharding is not None:
            return sharding.make_collector(self.algorithm, self.clock, self.report_worker)
        if actor is not None:
            return OverlappedCollector(self.algorithm, self.env, self.clock, actor)
        return Collector(self.algorithm, self.env, self.clock)

    # --- the loop ---

    def run(self, stop: StopRequest) -> Status:
        """Train until total_frames, the target return or a stop request, then save; return which it was."""
        self.pace = Pace(self.frames, self.schedule.total_frames)
        self.clock.started = time.perf_counter()
        if not self.collector.started:
            self.reset_environments()
        status = self.catch_up(stop)
        while self.frames < self.schedule.total_frames and status == "finished":
            trajectories = self.collect(stop)
            if trajectories is not None:
                self.learn(trajectories)
                self.report()
            is_best = self.evaluate_if_due(stop)
            if stop.is_set:
                status = "stopped"
            elif self.target_reached():
                status = "target reached"
            self.film_if_due(stop, at_end=status == "target reached")
            self.checkpoint_if_due(is_best, at_end=status != "finished")
        self.settle_save()
        self.view.update(self.progress())
        self.journal.flush()
        return status

    def close(self) -> None:
        """End what goes on beside the loop."""
        self.collector.close()
        if self.filming is not None:
            self.filming.close()

    def collect(self, stop: StopRequest) -> Trajectories | None:
        """Return the next rollout of the environments; None where a signal cut it short."""
        return self.collector.collect(stop)

    def learn(self, trajectories: Trajectories) -> None:
        """Update the algorithm with a rollout, count its frames, and keep the latest of each metric."""
        rollout = self.collector.rollout
        rollout.check_finite(self.frames)
        before = time.perf_counter()
        self.frames += rollout.frames
        if self.tell is not None:
            self.tell(trajectories, self.frames)
        metrics = self.algorithm.update(trajectories, self.frames)
        seconds = time.perf_counter() - before
        self.clock.learning += seconds
        self.weights.after_update(seconds)
        self.iteration += 1
        if metrics:
            self.metrics = self.metrics | metrics

    # --- what happens between iterations ---

    def catch_up(self, stop: StopRequest) -> Status:
        """Make the evaluation and the video that a signal cut short before, and save what came of them."""
        evaluation, filmed = self.evaluation, self._filmed_up_to()
        self.evaluate_if_due(stop)
        is_new = evaluation is not self.evaluation
        status: Status = "target reached" if is_new and self.target_reached() else "finished"
        self.film_if_due(stop, at_end=status == "target reached")
        if self.saver.tried_frames is not None and (is_new or filmed != self._filmed_up_to()):
            self.save(supersede=True)
        return status

    def report(self) -> None:
        """Count the episodes that ended, and record and show the run where that is due."""
        rollout = self.collector.rollout
        valid = None if rollout.all_valid else rollout.valid.cpu().numpy()
        self.episodes.update(rollout.reward.cpu().numpy(), rollout.final_index.tolist(), valid, rollout.broken_off)
        self.report_incidents()
        if self.is_due(self.schedule.record_every, self.frames - rollout.frames):
            self.record()
        if self.iteration == 1:
            self.journal.event("first_update", self.frames)
        if self.view.due():
            progress = self.progress()
            rates = {"frames_per_second": progress.frames_per_second_now, **progress.shares}
            self.journal.speed(self.frames, rates, _counts(progress.workers))
            self.journal.flush()
            self.view.update(progress)

    def report_incidents(self) -> None:
        """Tell what happened to environments that the seed does not decide; the run is not exact from there on."""
        while self.env.incidents:
            text = self.env.incidents.pop(0)
            self.inexact.append(f"after {self.frames:,} frames: {text}")
            self.journal.event("restart", self.frames, text=text)
            self.journal.flush()
            self.view.message(text, warning=True)

    def report_worker(self, text: str, place: int) -> None:
        """Tell what happened to a worker that steps environments, or, with place -1, what else should be known."""
        self.journal.event("note" if place < 0 else "worker lost", self.frames, text=text)
        self.journal.flush()
        self.view.message(text, warning=True)

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
        self.journal.iteration(self.frames, values | self.metrics | self.env.take_metrics())
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
            checkpoint_frames=None if self.saver.error else self.saver.tried_frames,
            workers=self.collector.workers(),
        )

    def evaluate_if_due(self, stop: StopRequest) -> bool:
        """Evaluate where enough frames have passed; return whether the policy is the best so far."""
        last = 0 if self.evaluation is None else self.evaluation.frames
        if stop.is_set or last == self.frames or not self.is_due(self.schedule.evaluate_every, last):
            return False
        before = time.perf_counter()
        evaluation = self.evaluator.evaluate(self.algorithm, self.frames, stop)
        self.evaluation_seconds += time.perf_counter() - before
        while self.evaluator.remarks:
            text = self.evaluator.remarks.pop(0)
            self.journal.event("note", self.frames, text=text)
            self.view.message(text)
        if evaluation is None:
            return False
        self.settle_best()
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

    def film_if_due(self, stop: StopRequest, *, at_end: bool = False) -> None:
        """Film the policy where the frames so far, or the end of the run, ask for it."""
        if self.filming is not None:
            at_end = at_end or self.frames >= self.schedule.total_frames
            self.filming.film_if_due(self.algorithm, self.frames, stop, at_end=at_end)

    def checkpoint_if_due(self, is_best: bool, at_end: bool) -> None:
        """Save where enough frames have passed, where the policy is the best so far, and at the end."""
        is_due = self.is_due(self.schedule.checkpoint_every, self.saver.tried_frames or 0)
        if self.saver.tried_frames != self.frames and (is_due or is_best or at_end):
            self.save()

    def save(self, *, supersede: bool = False) -> None:
        """Save; where there is a checkpoint of these frames, `supersede` puts this one in its place."""
        self.settle_best()
        self.weights.require_finite()  # what is poisoned is never saved
        self.saver.metadata[STEP_SECONDS] = self.clock.step_seconds
        self.saver.save(self.frames, self.get_content, self.best, supersede=supersede)

    def settle_best(self) -> None:
        """Wait for the last save; a best policy that the disk refused does not count."""
        lost = None if self.saver.settle() else self.saver.tried_frames
        if lost is not None and self.best is not None and self.best.frames == lost:
            self.best = self.saver.best

    def settle_save(self) -> None:
        """Wait for the last save, and try once more if the disk refused it."""
        if not self.saver.settle():
            self.save()
            self.settle_best()

    # --- state ---

    def reset_environments(self) -> None:
        """Start every environment anew, with seeds that depend on the frames trained so far."""
        seeds = environment_seeds(self.schedule.seed, "environments", self.env.num_envs, self.frames)
        self.collector.reset(seeds)
        self.episodes.forget_running()

    def generators(self) -> dict[str, torch.Generator]:
        """Return every generator that learning draws from; acting has one of its own in the collector."""
        return self.algorithm.generators

    def get_content(self) -> Content:
        """Return the state and its segments."""
        segments = self.algorithm.segments()
        return self.get_state(), segments

    def get_state(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on."""
        return {
            "frames": self.frames,
            "iteration": self.iteration,
            "algorithm": self.algorithm.state_dict(),
            "generators": {name: generator.get_state() for name, generator in self.generators().items()},
            "collector": self.collector.get_state(),
            "episodes": self.episodes.get_state(),
            "metrics": self.metrics,
            "evaluations": self.evaluator.count,
            "evaluation": _evaluation_state(self.evaluation),
            "best": _evaluation_state(self.best),
            "inexact": self.inexact[-MOST_REASONS:],
            "filmed_up_to": self._filmed_up_to(),
        }

    def set_state(self, state: dict[str, Any], segments: Sequence[Segment] = ()) -> list[str]:
        """Go on from `get_state` and its segments; return what could not be restored exactly, in words."""
        self.frames, self.iteration = state["frames"], state["iteration"]
        self.saver.tried_frames = self.frames
        self.algorithm.load_state_dict(state["algorithm"])
        self.algorithm.load_segments(list(segments))
        self.episodes.set_state(state["episodes"])
        self.metrics = state["metrics"]
        self.inexact = list(state.get("inexact", []))
        self.evaluator.count = state["evaluations"]
        self.evaluation = Evaluation(**state["evaluation"]) if state["evaluation"] else None
        self.best = self.saver.best = Evaluation(**state["best"]) if state["best"] else None
        if self.filming is not None:
            self.filming.filmed_up_to = state.get("filmed_up_to", self.frames)
        problem, moved = self.collector.set_state(state["collector"])
        if problem is not None:
            self.reset_environments()
        notes = [] if problem is None else [f"{problem}: they begin anew, so the run goes on, but not exactly"]
        self.inexact += [f"after {self.frames:,} frames: {note}" for note in notes]
        if moved or not self._set_generators(state["generators"]):
            notes.append(OTHER_DEVICE)
        return notes

    def _filmed_up_to(self) -> int:
        return -1 if self.filming is None else self.filming.filmed_up_to

    def _set_generators(self, states: dict[str, torch.Tensor]) -> bool:
        """Give the generators their states; return whether these were for this kind of device."""
        try:
            for name, generator in self.generators().items():
                generator.set_state(states[name])
        except RuntimeError:
            return False
        return True


def _counts(workers: Sequence[WorkerRow]) -> dict[str, float]:
    if not workers:
        return {}
    alive, restarts = (sum(getattr(each, name) for each in workers) for name in ("is_alive", "restarts"))
    return {"workers": float(alive), "restarts": float(restarts)}


def _rank(evaluation: Evaluation) -> tuple[float, float]:
    stochastic = evaluation.stochastic_mean
    return evaluation.mean_return, float("-inf") if stochastic is None else stochastic


def _as_best(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, is_best=True)


def _evaluation_state(evaluation: Evaluation | None) -> dict[str, Any] | None:
    return None if evaluation is None else asdict(evaluation)
