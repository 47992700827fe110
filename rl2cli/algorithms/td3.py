"""Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018, arXiv 1802.09477), for continuous actions.

Reads top to bottom: the policy, act, the gradient step. Details and their sources: `td3_options`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from rl2cli.algorithms.adam import FlatAdam, FlatParameters
from rl2cli.algorithms.base import BaseAlgorithm, Task
from rl2cli.algorithms.box_actions import BoxActions
from rl2cli.algorithms.compiled import CompiledStep
from rl2cli.algorithms.critics import Critics, frozen_copy
from rl2cli.algorithms.exploration import ColouredNoise, memory_of
from rl2cli.algorithms.gradient_shards import Loss
from rl2cli.algorithms.learner import ReplayLearner
from rl2cli.algorithms.replay import ReplayBatch
from rl2cli.algorithms.td3_options import TD3Options
from rl2cli.keys import ACTION, Observation, Trajectories
from rl2cli.segment import Segment

METRICS = (
    "loss/critic", "loss/value", "loss/critic_gradient_norm", "loss/policy", "loss/policy_gradient_norm",
)  # fmt: skip
NOT_IN_THE_STEP = {"exploration", "exploration_noise", "noise_exponent", "noise_steps"}
"""Options that are no part of a gradient step's code."""


class DeterministicPolicy(nn.Module):
    """One action for every observation, in rl2's unit actions, from -1 to 1."""

    def __init__(self, task: Task, width: int) -> None:
        super().__init__()
        self.network = task.make_network(0)
        self.head = nn.Linear(self.network.out_features, width)

    def forward(self, observation: Observation) -> torch.Tensor:
        """Return actions [B, width] for `observation` [B, *obs]."""
        return torch.tanh(self.head(self.network(observation)))


class TD3(BaseAlgorithm):
    """Follows the gradient of the critics' value; several critics, noisy targets and a slow policy against errors."""

    Options: ClassVar[type[TD3Options]] = TD3Options
    shares_gradients = True
    options: TD3Options

    def __init__(self, options: TD3Options, task: Task) -> None:
        super().__init__(options, task)
        self.rollout_length = options.rollout_length
        self.actions = BoxActions(task.action_space, "td3")
        width = self.actions.width
        self.policy = DeterministicPolicy(task, width)
        self.critics = Critics(task, options.critics, width)
        self.target_policy = frozen_copy(self.policy, DeterministicPolicy(task, width))
        self.target_critics = frozen_copy(self.critics, Critics(task, options.critics, width))
        self.noise: ColouredNoise | None = None
        if options.exploration == "coloured":
            sizes = options.noise_steps, task.num_envs, width
            self.noise = ColouredNoise(options.noise_exponent, *sizes, task.device)
        self.to(task.device)
        adam = options.adam_epsilon, options.max_grad_norm
        self.critic_optimizer = FlatAdam(self.critics.parameters(), *adam)
        self.policy_optimizer = FlatAdam(self.policy.parameters(), *adam)
        self.target_critic_parameters = FlatParameters(self.target_critics.parameters())
        self.target_policy_parameters = FlatParameters(self.target_policy.parameters())
        optimizers = [self.critic_optimizer, self.policy_optimizer]
        parts = [*optimizers, self.target_critic_parameters, self.target_policy_parameters]
        self.learner = ReplayLearner(self, options, self.step, parts, METRICS, (width,), options.policy_delay)
        self.generators = self.learner.generators
        self.memory_bytes = self.learner.buffer.memory_bytes

    # --- acting ---

    @torch.inference_mode()
    def act(
        self, observation: Observation, explore: torch.Generator | None = None, action_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return `action` [B, *act]; see `BaseAlgorithm.act`."""
        del action_mask
        action = self.policy(self.learner.normalize(observation))
        if explore is not None:
            action = self._with_noise(action, torch.empty_like(action).normal_(generator=explore))
        return {ACTION: self.actions.to_env(action)}

    @torch.inference_mode()
    def behave(
        self, observation: Observation, explore: torch.Generator, action_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return `action` [N, *act], random during the warm-up; see `BaseAlgorithm.behave`."""
        if self.learner.warming_up:
            count = self.task.num_envs
            unit = self.actions.sample(count, explore) if self.noise is None else self.noise.sample_uniform(explore)
            return {ACTION: self.actions.to_env(unit)}
        if self.noise is None:
            return self.act(observation, explore, action_mask)
        action = self.policy(self.learner.normalize(observation))
        return {ACTION: self.actions.to_env(self._with_noise(action, self.noise.sample(explore)))}

    def _with_noise(self, action: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return action.add(noise, alpha=self.options.exploration_noise).clamp(-1.0, 1.0)

    # --- learning ---

    def update(self, trajectories: Trajectories, frames: int) -> dict[str, float]:
        """Learn from everything seen; see `BaseAlgorithm.update`."""
        return self.learner.update(trajectories, frames)

    def step(self, batch: ReplayBatch, noise: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Take `policy_delay` gradient steps with the critics, each on its part of the rows, then one with the policy.

        Algorithm 1; the policy's loss is -E[Q1(s, policy(s))]. Returns METRICS and TD errors [B].
        """
        size = self.options.batch_size
        reports: list[torch.Tensor] = []
        errors: list[torch.Tensor] = []
        for start in range(0, size * self.options.policy_delay, size):
            part = batch.select(slice(start, start + size))
            critic_norm, critic = self.critic_optimizer.minimise(self._of_rows, part, noise[0][start : start + size])
            reports.append(torch.stack([critic.value, *critic.means, critic_norm]))
            errors += critic.rows
        policy_norm, policy = self.policy_optimizer.minimise(lambda batch: Loss(self.policy_loss(batch)), part)
        self.target_critic_parameters.follow(self.critic_optimizer, self.options.tau)
        self.target_policy_parameters.follow(self.policy_optimizer, self.options.tau)
        means = torch.stack(reports).mean(0)
        return [*means.unbind(), policy.value, policy_norm], torch.cat(errors)

    def _of_rows(self, batch: ReplayBatch, noise: torch.Tensor) -> Loss:
        loss, value, error = self.critic_loss(batch, noise)
        return Loss(loss, [value.mean()], [error])

    def critic_loss(self, batch: ReplayBatch, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the sum over the critics of E[w (Q(s, a) - y)²], the values Q(s, a) [critics, B] and TD errors [B].

        y = r + discount min Q'(s', policy'(s') + clipped noise).
        """
        clip = self.options.target_noise_clip
        with torch.no_grad():
            smoothing = (self.options.target_noise * noise).clamp(-clip, clip)
            action = (self.target_policy(batch.next_observation) + smoothing).clamp(-1.0, 1.0)
            following = self.target_critics(batch.next_observation, action).amin(0).squeeze(-1)
            target = batch.reward + batch.discount * following  # [B]
        value = self.critics(batch.observation, self.actions.to_unit(batch.action)).squeeze(-1)  # [critics, B]
        error = value - target
        loss = (batch.weight * error.square()).mean(-1).sum()
        return loss, value.detach(), error.detach().abs().mean(0)

    def policy_loss(self, batch: ReplayBatch) -> torch.Tensor:
        """Return -E[Q1(s, policy(s))], of the first critic alone."""
        return -self.critics.first(batch.observation, self.policy(batch.observation)).mean()

    def make_compiled_step(self) -> CompiledStep:
        """Return the gradient steps in compilable form; see `BaseAlgorithm.make_compiled_step`."""
        return self.learner.make_compiled_step(self, NOT_IN_THE_STEP)

    # --- state ---

    def acting_tensors(self) -> list[torch.Tensor]:
        """Return the policy's parameters and the statistics of observations; see `BaseAlgorithm.acting_tensors`."""
        return [*self.policy.parameters(), *self.learner.normalizer.buffers()]

    def exploration_tensors(self) -> list[torch.Tensor]:
        """Return what coloured or state-dependent noise remembers; see `BaseAlgorithm.exploration_tensors`."""
        return memory_of(self.noise)

    def take_frames(self, frames: int) -> None:
        """Know whether this is the warm-up; see `BaseAlgorithm.take_frames`."""
        self.learner.frames = frames

    def segments(self) -> list[Segment]:
        """Return the replay buffer in pieces; see `BaseAlgorithm.segments`."""
        return self.learner.buffer.segments()

    def load_segments(self, segments: list[Segment]) -> None:
        """Take back the replay buffer; see `BaseAlgorithm.load_segments`."""
        self.learner.buffer.load_segments(segments)
