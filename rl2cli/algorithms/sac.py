"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905), for continuous and for discrete actions.

Reads top to bottom: the two kinds of policy, act, the gradient step. Details and their sources: `sac_options`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Protocol

import torch
from gymnasium import spaces
from torch import nn

from rl2cli.algorithms.adam import FlatAdam, FlatParameters
from rl2cli.algorithms.base import BaseAlgorithm, Task
from rl2cli.algorithms.box_actions import cannot_act
from rl2cli.algorithms.compiled import CompiledStep
from rl2cli.algorithms.critics import Critics, frozen_copy
from rl2cli.algorithms.distributions import Categorical, masked
from rl2cli.algorithms.exploration import memory_of
from rl2cli.algorithms.gradient_shards import Loss
from rl2cli.algorithms.learner import ReplayLearner
from rl2cli.algorithms.replay import ReplayBatch
from rl2cli.algorithms.sac_options import SACOptions
from rl2cli.algorithms.squashed_gaussian import SquashedGaussian
from rl2cli.algorithms.temperature import Temperature
from rl2cli.keys import ACTION, Observation, Trajectories
from rl2cli.segment import Segment

METRICS = (
    "loss/critic", "loss/policy", "loss/entropy", "loss/temperature", "loss/value", "loss/critic_gradient_norm",
    "loss/policy_gradient_norm",
)  # fmt: skip
NOT_IN_THE_STEP = {"exploration", "noise_exponent", "noise_steps", "log_std_init", "entropy_coef_init"}
"""Options that are no part of a gradient step's code; what exploring adds to the policy shows in its parameters."""


class Policy(Protocol):
    """What SAC asks of a policy, of either kind of action."""

    noise_widths: tuple[int, ...]
    """Width of the standard normal noise for the next and for the present action."""

    def soft_value(
        self, batch: ReplayBatch, targets: nn.Module, temperature: torch.Tensor, noise: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Return V(s') = E[min Q(s', a') - temperature log p(a')], [B]."""

    def values(self, critics: nn.Module, batch: ReplayBatch) -> torch.Tensor:
        """Return Q(s, a) of every critic, [critics, B]."""

    def loss(
        self, batch: ReplayBatch, critics: nn.Module, temperature: torch.Tensor, noise: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return E[temperature log p(a) - min Q(s, a)], the entropy [B] and how far it is above its target [B]."""


class ContinuousPolicy(SquashedGaussian):
    """Tanh-Gaussian actions; expectations over the policy are estimated with one sample."""

    def __init__(self, options: SACOptions, task: Task) -> None:
        noise = options.exploration, options.noise_exponent, options.noise_steps, options.log_std_init
        super().__init__(task, "sac", *noise)
        self.noise_widths = (self.width, self.width)
        self.target_entropy = -float(self.width) if options.target_entropy == "auto" else options.target_entropy

    def soft_value(
        self, batch: ReplayBatch, targets: nn.Module, temperature: torch.Tensor, noise: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """See `Policy`."""
        action, log_prob = self.sample(batch.next_observation, noise[0])
        value: torch.Tensor = targets(batch.next_observation, action).amin(0).squeeze(-1)
        return value - temperature * log_prob

    def values(self, critics: nn.Module, batch: ReplayBatch) -> torch.Tensor:
        """See `Policy`."""
        value: torch.Tensor = critics(batch.observation, self.actions.to_unit(batch.action))
        return value.squeeze(-1)

    def loss(
        self, batch: ReplayBatch, critics: nn.Module, temperature: torch.Tensor, noise: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `Policy`."""
        action, log_prob = self.sample(batch.observation, noise[1])
        value = critics(batch.observation, action).amin(0).squeeze(-1)
        entropy = -log_prob.detach()
        return (temperature * log_prob - value).mean(), entropy, entropy - self.target_entropy


class DiscretePolicy(nn.Module):
    """One choice out of n; expectations over the policy are exact (Christodoulou 2019, arXiv 1910.07207)."""

    noise_widths: tuple[int, ...] = ()

    def __init__(self, options: SACOptions, task: Task) -> None:
        super().__init__()
        if not isinstance(task.action_space, spaces.Discrete):
            raise cannot_act("sac", task.action_space)
        self.choices = int(task.action_space.n)
        self.distribution = Categorical(self.choices)
        self.network = task.make_network(0)
        self.head = nn.Linear(self.network.out_features, self.choices)
        self.target_entropy = options.target_entropy

    def soft_value(
        self, batch: ReplayBatch, targets: nn.Module, temperature: torch.Tensor, noise: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """See `Policy`."""
        del noise
        log_p = self._log_p(batch.next_observation, batch.next_action_mask)
        value: torch.Tensor = targets(batch.next_observation).amin(0)  # [B, choices]
        return (log_p.exp() * (value - temperature * log_p)).sum(-1)

    def values(self, critics: nn.Module, batch: ReplayBatch) -> torch.Tensor:
        """See `Policy`."""
        value: torch.Tensor = critics(batch.observation)  # [critics, B, choices]
        index = batch.action.view(1, -1, 1).expand(value.shape[0], -1, 1)
        return value.gather(-1, index).squeeze(-1)

    def loss(
        self, batch: ReplayBatch, critics: nn.Module, temperature: torch.Tensor, noise: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `Policy`."""
        del noise
        log_p = self._log_p(batch.observation, batch.action_mask)
        p = log_p.exp()
        with torch.no_grad():
            value = critics(batch.observation).amin(0)
        entropy = -(p * log_p).sum(-1).detach()
        return (p * (temperature * log_p - value)).sum(-1).mean(), entropy, entropy - self._target(batch.action_mask)

    def _target(self, mask: torch.Tensor | None) -> float | torch.Tensor:
        """Return the entropy wanted, of each state [B] where it depends on how many actions are allowed."""
        if self.target_entropy != "auto":
            return self.target_entropy
        return 0.98 * (math.log(self.choices) if mask is None else mask.sum(-1).float().log())

    def _log_p(self, observation: Observation, mask: torch.Tensor | None) -> torch.Tensor:
        return masked(self.head(self.network(observation)), mask).log_softmax(-1)

    @torch.inference_mode()
    def act(
        self, observation: Observation, explore: torch.Generator | None, action_mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Return actions [B]."""
        outputs = self.head(self.network(observation))
        if explore is None:
            return self.distribution.mode(outputs, action_mask)
        return self.distribution.sample(outputs, outputs, explore, action_mask)

    behave = act

    def random(self, count: int, generator: torch.Generator, action_mask: torch.Tensor | None) -> torch.Tensor:
        """Return uniform random allowed actions [count]."""
        outputs = torch.zeros(count, self.choices, device=generator.device)
        return self.distribution.sample(outputs, outputs, generator, action_mask)


class SAC(BaseAlgorithm):
    """Maximises return and entropy; several critics against overestimation, a learned temperature."""

    Options: ClassVar[type[SACOptions]] = SACOptions
    shares_gradients = True
    options: SACOptions

    def __init__(self, options: SACOptions, task: Task) -> None:
        super().__init__(options, task)
        self.rollout_length = options.rollout_length
        discrete = not isinstance(task.action_space, spaces.Box)
        self.policy = DiscretePolicy(options, task) if discrete else ContinuousPolicy(options, task)
        shape = (0, self.policy.choices) if isinstance(self.policy, DiscretePolicy) else (self.policy.width, 1)
        self.critics = Critics(task, options.critics, *shape)
        self.targets = frozen_copy(self.critics, Critics(task, options.critics, *shape))
        self.to(task.device)
        adam = options.adam_epsilon, options.max_grad_norm
        self.critic_optimizer = FlatAdam(self.critics.parameters(), *adam)
        self.policy_optimizer = FlatAdam(self.policy.parameters(), *adam)
        self.target_parameters = FlatParameters(self.targets.parameters())
        self.temperature = Temperature(options.entropy_coef, options.entropy_coef_init, *adam, task.device)
        parts = [self.critic_optimizer, self.policy_optimizer, self.target_parameters, *self.temperature.parts]
        self.learner = ReplayLearner(self, options, self.step, parts, METRICS, self.policy.noise_widths)
        self.generators = self.learner.generators
        self.memory_bytes = self.learner.buffer.memory_bytes

    # --- acting ---

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

    # --- learning ---

    def update(self, trajectories: Trajectories, frames: int) -> dict[str, float]:
        """Learn from everything seen; see `BaseAlgorithm.update`."""
        return self.learner.update(trajectories, frames)

    def step(self, batch: ReplayBatch, noise: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Take one gradient step with critics, policy and temperature; return METRICS and TD errors [B].

        y = r + discount V(s'),  critics: sum of 1/2 E[w (Q(s, a) - y)²]  (equations 5 and 6),
        policy: E[temperature log p(a) - min Q(s, a)]  (7),  temperature: E[log temperature (H - target)]  (18).
        """
        temperature = self.temperature()
        critic_norm, critic = self.critic_optimizer.minimise(partial(self.critic_loss, temperature), batch, *noise)
        policy_norm, policy = self.policy_optimizer.minimise(partial(self.policy_loss, temperature), batch, *noise)
        entropy, excess = policy.rows
        self.temperature.learn(excess)
        self.target_parameters.follow(self.critic_optimizer, self.options.tau)
        losses = critic.value, policy.value
        return [*losses, entropy.mean(), temperature, *critic.means, critic_norm, policy_norm], critic.rows[0]

    def critic_loss(self, temperature: torch.Tensor, batch: ReplayBatch, *noise: torch.Tensor) -> Loss:
        """Return the loss of the critics, with the mean of their values and their TD errors."""
        with torch.no_grad():
            target = batch.reward + batch.discount * self.policy.soft_value(batch, self.targets, temperature, noise)
        values = self.policy.values(self.critics, batch)  # [critics, B]
        error = values - target
        loss = 0.5 * (batch.weight * error.square()).mean(-1).sum()
        return Loss(loss, [values.detach().mean()], [error.detach().abs().mean(0)])

    def policy_loss(self, temperature: torch.Tensor, batch: ReplayBatch, *noise: torch.Tensor) -> Loss:
        """Return the loss of the policy, with its entropy and how far that is above its target."""
        loss, *rows = self.policy.loss(batch, self.critics, temperature, noise)
        return Loss(loss, rows=rows)

    def make_compiled_step(self) -> CompiledStep:
        """Return the gradient step in compilable form; see `BaseAlgorithm.make_compiled_step`."""
        return self.learner.make_compiled_step(self, NOT_IN_THE_STEP)

    # --- state ---

    def acting_tensors(self) -> list[torch.Tensor]:
        """Return the policy's parameters and the statistics of observations; see `BaseAlgorithm.acting_tensors`."""
        return [*self.policy.parameters(), *self.learner.normalizer.buffers()]

    def exploration_tensors(self) -> list[torch.Tensor]:
        """Return what coloured or state-dependent noise remembers; see `BaseAlgorithm.exploration_tensors`."""
        return memory_of(getattr(self.policy, "noise", None))

    def take_frames(self, frames: int) -> None:
        """Know whether this is the warm-up; see `BaseAlgorithm.take_frames`."""
        self.learner.frames = frames

    def segments(self) -> list[Segment]:
        """Return the replay buffer in pieces; see `BaseAlgorithm.segments`."""
        return self.learner.buffer.segments()

    def load_segments(self, segments: list[Segment]) -> None:
        """Take back the replay buffer; see `BaseAlgorithm.load_segments`."""
        self.learner.buffer.load_segments(segments)
