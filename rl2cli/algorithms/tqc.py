"""Truncated quantile critics (Kuznetsov et al. 2020, arXiv 2005.04269): SAC with critics that give distributions.

Reads top to bottom: act, the gradient step, its critic loss. Details and their sources: `tqc_options`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch

from rl2cli.algorithms.adam import FlatAdam, FlatParameters
from rl2cli.algorithms.base import BaseAlgorithm, Task
from rl2cli.algorithms.compiled import CompiledStep
from rl2cli.algorithms.critics import Critics, frozen_copy
from rl2cli.algorithms.exploration import memory_of
from rl2cli.algorithms.gradient_shards import Loss
from rl2cli.algorithms.learner import ReplayLearner
from rl2cli.algorithms.replay import ReplayBatch
from rl2cli.algorithms.squashed_gaussian import SquashedGaussian
from rl2cli.algorithms.temperature import Temperature
from rl2cli.algorithms.tqc_options import TQCOptions
from rl2cli.keys import ACTION, Observation, Trajectories
from rl2cli.segment import Segment

METRICS = (
    "loss/critic", "loss/policy", "loss/entropy", "loss/temperature", "loss/value", "loss/critic_gradient_norm",
    "loss/policy_gradient_norm",
)  # fmt: skip
NOT_IN_THE_STEP = {"exploration", "noise_exponent", "noise_steps", "log_std_init", "entropy_coef_init"}
"""Options that are no part of a gradient step's code; what exploring adds to the policy shows in its parameters."""


class TQC(BaseAlgorithm):
    """Maximises return and entropy; leaving out the critics' highest quantiles keeps them from overestimating."""

    Options: ClassVar[type[TQCOptions]] = TQCOptions
    shares_gradients = True
    options: TQCOptions

    def __init__(self, options: TQCOptions, task: Task) -> None:
        super().__init__(options, task)
        self.rollout_length = options.rollout_length
        noise = options.exploration, options.noise_exponent, options.noise_steps, options.log_std_init
        self.policy = SquashedGaussian(task, "tqc", *noise)
        width = self.policy.width
        self.target_entropy = -float(width) if options.target_entropy == "auto" else options.target_entropy
        self.critics, copies = (Critics(task, options.critics, width, options.quantiles) for _ in range(2))
        self.targets = frozen_copy(self.critics, copies)
        self.to(task.device)
        adam = options.adam_epsilon, options.max_grad_norm
        self.critic_optimizer = FlatAdam(self.critics.parameters(), *adam)
        self.policy_optimizer = FlatAdam(self.policy.parameters(), *adam)
        self.target_parameters = FlatParameters(self.targets.parameters())
        self.temperature = Temperature(options.entropy_coef, options.entropy_coef_init, *adam, task.device)
        parts = [self.critic_optimizer, self.policy_optimizer, self.target_parameters, *self.temperature.parts]
        self.learner = ReplayLearner(self, options, self.step, parts, METRICS, (width, width))
        self.generators = self.learner.generators
        self.memory_bytes = self.learner.buffer.memory_bytes

    def act(
        self, observation: Observation, explore: torch.Generator | None = None, action_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return `action` [B, *act]; see `BaseAlgorithm.act`."""
        return {ACTION: self.policy.act(self.learner.normalize(observation), explore, action_mask)}

    def behave(
        self, observation: Observation, explore: torch.Generator, action_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return `action` [N, *act], random during the warm-up; see `BaseAlgorithm.behave`."""
        if self.learner.warming_up:
            return {ACTION: self.policy.random(self.task.num_envs, explore, action_mask)}
        return {ACTION: self.policy.behave(self.learner.normalize(observation), explore, action_mask)}

    def update(self, trajectories: Trajectories, frames: int) -> dict[str, float]:
        """Learn from everything seen; see `BaseAlgorithm.update`."""
        return self.learner.update(trajectories, frames)

    def step(self, batch: ReplayBatch, noise: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Take one gradient step with critics, policy and temperature; return METRICS and TD errors [B].

        Targets are y_i = r + discount (z_i - temperature log p(a')), z_i the lowest quantiles of all target critics
        together; policy: E[temperature log p(a) - mean quantile].
        """
        temperature = self.temperature()
        critic_norm, critic = self.critic_optimizer.minimise(partial(self.critic_loss, temperature), batch, *noise)
        policy_norm, policy = self.policy_optimizer.minimise(partial(self.policy_loss, temperature), batch, *noise)
        (entropy,) = policy.rows
        self.temperature.learn(entropy - self.target_entropy)
        self.target_parameters.follow(self.critic_optimizer, self.options.tau)
        losses = critic.value, policy.value
        return [*losses, entropy.mean(), temperature, *critic.means, critic_norm, policy_norm], critic.rows[0]

    def critic_loss(self, temperature: torch.Tensor, batch: ReplayBatch, *noise: torch.Tensor) -> Loss:
        """Return the loss of the critics, with the mean of their values and their TD errors."""
        kept = self.options.critics * (self.options.quantiles - self.options.dropped_quantiles)
        with torch.no_grad():
            action, log_prob = self.policy.sample(batch.next_observation, noise[0])
            joined = self.targets(batch.next_observation, action).transpose(0, 1).flatten(1)  # [B, critics * quantiles]
            following = joined.sort(-1).values[:, :kept] - temperature * log_prob.unsqueeze(-1)
            target = torch.addcmul(batch.reward.unsqueeze(-1), batch.discount.unsqueeze(-1), following)  # [B, kept]
        action = self.policy.actions.to_unit(batch.action)
        quantiles = self.critics(batch.observation, action)  # [critics, B, quantiles]
        loss = (batch.weight * quantile_huber_loss(quantiles, target)).mean()
        value = quantiles.detach().mean(-1)  # [critics, B]
        return Loss(loss, [value.mean()], [(value - target.mean(-1)).abs().mean(0)])

    def policy_loss(self, temperature: torch.Tensor, batch: ReplayBatch, *noise: torch.Tensor) -> Loss:
        """Return the loss of the policy, with its entropy."""
        action, log_prob = self.policy.sample(batch.observation, noise[1])
        loss = (temperature * log_prob - self.critics(batch.observation, action).mean((0, 2))).mean()
        return Loss(loss, rows=[-log_prob.detach()])

    def make_compiled_step(self) -> CompiledStep:
        """Return the gradient step in compilable form; see `BaseAlgorithm.make_compiled_step`."""
        return self.learner.make_compiled_step(self, NOT_IN_THE_STEP)

    def acting_tensors(self) -> list[torch.Tensor]:
        """Return the policy's parameters and the statistics of observations; see `BaseAlgorithm.acting_tensors`."""
        return [*self.policy.parameters(), *self.learner.normalizer.buffers()]

    def exploration_tensors(self) -> list[torch.Tensor]:
        """Return what coloured or state-dependent noise remembers; see `BaseAlgorithm.exploration_tensors`."""
        return memory_of(self.policy.noise)

    def take_frames(self, frames: int) -> None:
        """Know whether this is the warm-up; see `BaseAlgorithm.take_frames`."""
        self.learner.frames = frames

    def segments(self) -> list[Segment]:
        """Return the replay buffer in pieces; see `BaseAlgorithm.segments`."""
        return self.learner.buffer.segments()

    def load_segments(self, segments: list[Segment]) -> None:
        """Take back the replay buffer; see `BaseAlgorithm.load_segments`."""
        self.learner.buffer.load_segments(segments)


def quantile_huber_loss(quantiles: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return how far `quantiles` [..., B, Q] are from being those of `target` [B, K], [..., B].

    The mean over i and j of |tau_i - [u_ij < 0]| Huber(u_ij), u_ij = target_j - quantile_i, tau_i = (i - 1/2) / Q
    (Dabney et al. 2017, arXiv 1710.10044, equation 10).
    """
    count = quantiles.shape[-1]
    levels = (torch.arange(count, device=quantiles.device) + 0.5) / count
    error = target.unsqueeze(-2) - quantiles.unsqueeze(-1)  # [..., B, Q, K]
    size = error.abs()
    huber = torch.where(size > 1.0, size - 0.5, 0.5 * error.square())
    return ((levels.unsqueeze(-1) - (error < 0).float()).abs() * huber).mean((-2, -1))
