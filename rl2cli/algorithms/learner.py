"""What off-policy algorithms share: a replay buffer, and the gradient steps that are due after every rollout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from rl2cli.algorithms.adam import FlatAdam, FlatParameters
from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.algorithms.compiled import LEAST_ROWS, CompilationError, CompiledStep, sources
from rl2cli.algorithms.gradient_step import GradientStep
from rl2cli.algorithms.normalization import ObservationNormalizer, RewardNormalizer, cut_reward
from rl2cli.algorithms.replay import ReplayBatch, ReplayBuffer
from rl2cli.algorithms.replay_options import ReplayOptions
from rl2cli.algorithms.schedules import value_at
from rl2cli.errors import NonFiniteError
from rl2cli.keys import DONE, REWARD, VALID, Observation, Trajectories, map_observation, observation_of_frames
from rl2cli.networks.base import BaseNetwork
from rl2cli.spaces import action_dtype, action_shape, allocate, count_numbers, mask_width

STEPS_SAMPLED_TOGETHER = 64
"""Batches drawn from the buffer at once, at most, where no step changes what the next one draws."""
NUMBERS_SAMPLED_TOGETHER = 1 << 24
"""In the observations of those batches, at most: those of images take memory."""

NOT_IN_THE_STEP = {*ReplayOptions.model_fields} - {"batch_size", "max_grad_norm", "adam_epsilon"}
"""Shared options that are no part of a gradient step's code: runs that differ in these share what was compiled."""

Step = Callable[[ReplayBatch, Sequence[torch.Tensor]], tuple[Sequence[torch.Tensor], torch.Tensor]]
"""Takes a batch with normalised observations and rewards, and noise; returns metrics and TD errors [B]."""


class ReplayLearner(nn.Module):
    """Keeps every frame, and takes `updates_per_frame` gradient steps for each one, however many come at once.

    Args:
        algorithm: Whose step it is; its parameters are in place and on their device.
        options: The algorithm's own.
        step: One gradient step; it looks at no value on the host and draws no random numbers.
        parts: Everything that a step changes.
        metrics: Names of what a step reports.
        noise: Width of each tensor of standard normal noise that a step takes.
        batches_per_step: Batches that one call of `step` takes, joined; it counts as so many gradient steps.
    """

    def __init__(
        self,
        algorithm: BaseAlgorithm,
        options: ReplayOptions,
        step: Step,
        parts: Sequence[FlatParameters],
        metrics: Sequence[str],
        noise: Sequence[int] = (),
        batches_per_step: int = 1,
    ) -> None:
        super().__init__()
        task = algorithm.task
        self.options, self.task, self.metrics, self.noise = options, task, tuple(metrics), tuple(noise)
        self.rows = options.batch_size * batches_per_step
        self.batches_per_step = batches_per_step
        self.normalizer = ObservationNormalizer(task.observation_space, task.device)
        self.reward_normalizer = RewardNormalizer(task.num_envs, options.gamma, task.device)
        self.buffer = ReplayBuffer(task, options)
        self.optimizers = [part for part in parts if isinstance(part, FlatAdam)]
        self.generators = {"replay": task.make_generator("replay"), "noise": task.make_generator("noise")}
        self.frames = self.updates = 0
        self.latest: dict[str, float] = {}
        self._step = step
        numbers = count_numbers(task.observation_space)
        self._at_once = min(max(NUMBERS_SAMPLED_TOGETHER // (self.rows * max(numbers, 1)), 1), STEPS_SAMPLED_TOGETHER)
        self._structure = self._example_batch(LEAST_ROWS)
        self._tensors = len(self._structure.tensors())
        self._gradient_step = GradientStep(self._take, algorithm, parts, task.device)

    @property
    def warming_up(self) -> bool:
        """Whether actions should still be random."""
        return self.frames < self.options.learning_starts

    def normalize(self, observation: Observation) -> Observation:
        """Return what the networks see of a raw `observation` [B, *obs]."""
        return self.normalizer(observation) if self.options.normalize_observation else observation

    # --- learning ---

    def update(self, trajectories: Trajectories, frames: int) -> dict[str, float]:
        """Keep a rollout and take the steps that are due; see `BaseAlgorithm.update`."""
        self.buffer.add(trajectories)
        self.frames = frames
        calls = self._due() // self.batches_per_step if len(self.buffer) else 0
        if calls:
            self._learn(calls)
        self._update_statistics(trajectories)
        learned = max(frames - self.options.learning_starts, 1)
        return self.latest | {
            "replay/size": float(len(self.buffer)),
            "replay/capacity": float(self.options.buffer_size),
            "replay/updates_per_frame": self.updates / learned,
        }

    def _due(self) -> int:
        """Return how many gradient steps are due: those of all frames after the warm-up, less those taken."""
        learned_from = max(self.frames - self.options.learning_starts, 0)
        return int(learned_from * self.options.updates_per_frame) - self.updates

    def _learn(self, calls: int) -> None:
        learning_rate = value_at(self.options.learning_rate, self.frames, self.task.total_frames)
        for optimizer in self.optimizers:
            optimizer.learning_rate.fill_(learning_rate)
        count = len(self.metrics)
        reports = []
        for batch, index in self._batches(calls):
            report = self._gradient_step(*batch.tensors(), *self._draw_noise(self.rows))
            reports.append(report[:count].clone())
            if report.is_cpu and not math.isfinite(sum(reports[-1].tolist())):
                self._check_finite(reports[-1][None], batch)
            if self.options.prioritized:
                self.buffer.set_priorities(index, report[count:])
        self.updates += calls * self.batches_per_step
        values = torch.stack(reports)
        self._check_finite(values)
        self.latest = dict(zip(self.metrics, values[-1].tolist(), strict=True))
        self.latest["loss/learning_rate"] = learning_rate

    def _batches(self, calls: int) -> Iterator[tuple[ReplayBatch, torch.Tensor]]:
        """Yield what each call of the step learns from, and where it lies in the buffer."""
        at_once = 1 if self.options.prioritized else self._at_once
        importance = value_at(self.options.importance_exponent, self.frames, self.task.total_frames)
        while calls:
            now = min(calls, at_once)
            batch, index = self.buffer.sample(now * self.rows, self.generators["replay"], importance)
            for start in range(0, now * self.rows, self.rows):
                rows = slice(start, start + self.rows)
                yield (self._normalize(batch.select(rows)), index[rows]) if now > 1 else (self._normalize(batch), index)
            calls -= now

    def _normalize(self, batch: ReplayBatch) -> ReplayBatch:
        if self.options.normalize_observation:
            both = self.normalize(batch.observation), self.normalize(batch.next_observation)
            batch = batch._replace(observation=both[0], next_observation=both[1])
        if self.options.normalize_reward:
            batch = batch._replace(reward=self.reward_normalizer(batch.reward))
        return batch

    def _draw_noise(self, rows: int) -> list[torch.Tensor]:
        generator = self.generators["noise"]
        return [torch.empty(rows, width, device=self.task.device).normal_(generator=generator) for width in self.noise]

    def _take(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Take a step of the tensors of a batch and noise; return its metrics, then its TD errors."""
        batch = self._structure.with_tensors(tensors[: self._tensors])
        reported, errors = self._step(batch, tensors[self._tensors :])
        return torch.cat([torch.stack(list(reported)), errors])

    def _check_finite(self, values: torch.Tensor, batch: ReplayBatch | None = None) -> None:
        """Raise where a step of `batch` reported a number [calls, metrics] that is not finite; parameters still are."""
        finite = values.isfinite().all(0).tolist()
        bad = [name for name, good in zip(self.metrics, finite, strict=True) if not good]
        if bad:
            raise NonFiniteError(
                f"{', '.join(bad)} not finite in an update",
                hint="a lower learning_rate, max_grad_norm or normalize_reward = true often helps; "
                "the last checkpoint is good",
                tensors={} if batch is None else batch._asdict(),
            )

    def _update_statistics(self, trajectories: Trajectories) -> None:
        valid = trajectories[VALID].squeeze(-1)  # [T, N]
        if self.options.normalize_observation:
            self.normalizer.update(observation_of_frames(trajectories))
        if self.options.normalize_reward:
            reward, done = (trajectories[key].squeeze(-1) for key in (REWARD, DONE))
            self.reward_normalizer.update(cut_reward(reward, self.options.clip_reward), done, valid)

    # --- compiling ---

    def make_compiled_step(self, algorithm: BaseAlgorithm, not_in_the_step: set[str]) -> CompiledStep:
        """Return the step in compilable form; see `BaseAlgorithm.make_compiled_step`.

        Args:
            algorithm: The one it belongs to.
            not_in_the_step: The algorithm's own options that its step does not read.

        Raises:
            CompilationError: A network keeps something that would become part of the code.
        """
        networks = [module for module in algorithm.modules() if isinstance(module, BaseNetwork)]
        if any(True for network in networks for _ in network.buffers()):
            raise CompilationError("a network has buffers, and their values would become part of the code")
        return self._gradient_step.make_compiled(
            self._example_inputs,
            self.rows,
            [
                self.options.model_dump(exclude=NOT_IN_THE_STEP | not_in_the_step),
                *[(network, network.options, network.compute_dtype) for network in networks],
                *[self.task.observation_space, self.task.action_space],
                *sources(algorithm),
            ],
            calls=self.task.total_frames * self.options.updates_per_frame / self.batches_per_step,
            rows_vary=False,
        )

    def _example_inputs(self, rows: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(rows)
        noise = [torch.randn(rows, width, generator=generator) for width in self.noise]
        return [*self._example_batch(rows).tensors(), *noise]

    @torch.no_grad()
    def _example_batch(self, rows: int) -> ReplayBatch:
        """Return made-up rows of the task's shapes."""
        task = self.task
        generator = torch.Generator().manual_seed(rows)

        def noise(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.uniform_(-1.0, 1.0, generator=generator) if tensor.is_floating_point() else tensor

        def observation() -> Observation:
            return self.normalize(map_observation(noise, allocate(task.observation_space, (rows,))))

        space = task.action_space
        mask = torch.ones(rows, mask_width(space), dtype=torch.bool) if task.has_action_mask else None
        return ReplayBatch(
            observation=observation(),
            action=noise(torch.zeros(rows, *action_shape(space), dtype=action_dtype(space))),
            reward=noise(torch.zeros(rows)),
            next_observation=observation(),
            discount=torch.full((rows,), 0.99),
            weight=torch.ones(rows),
            action_mask=mask,
            next_action_mask=None if mask is None else mask.clone(),
        )

    # --- state ---

    def get_extra_state(self) -> dict[str, Any]:
        """Return what is neither a parameter nor a buffer, besides the segments of the replay buffer."""
        return {
            "frames": self.frames,
            "updates": self.updates,
            "latest": dict(self.latest),
            "buffer": self.buffer.get_state(),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take back `get_extra_state`; called by `load_state_dict`."""
        self.frames, self.updates, self.latest = state["frames"], state["updates"], dict(state["latest"])
        self.buffer.set_state(state["buffer"])
