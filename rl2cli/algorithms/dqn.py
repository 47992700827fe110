"""Deep Q-learning (Mnih et al. 2015, Human-level control through deep reinforcement learning), for Discrete actions.

Reads top to bottom: the action values, the target network, act, the gradient step. Details and their sources:
`dqn_options`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F

from rl2cli.algorithms.adam import FlatAdam, FlatParameters
from rl2cli.algorithms.base import BaseAlgorithm, Task
from rl2cli.algorithms.box_actions import cannot_act
from rl2cli.algorithms.compiled import CompiledStep
from rl2cli.algorithms.critics import frozen_copy
from rl2cli.algorithms.distributions import Categorical, masked
from rl2cli.algorithms.dqn_options import DQNOptions
from rl2cli.algorithms.gradient_shards import Loss
from rl2cli.algorithms.learner import ReplayLearner
from rl2cli.algorithms.replay import ReplayBatch
from rl2cli.algorithms.schedules import value_at
from rl2cli.keys import ACTION, Observation, Trajectories
from rl2cli.segment import Segment

METRICS = ("loss/critic", "loss/value", "loss/critic_gradient_norm")
NOT_IN_THE_STEP = {"epsilon", "exploration_fraction", "evaluation_epsilon"}
"""Options that are no part of a gradient step's code."""


class ActionValues(nn.Module):
    """Q(s, a) of every action; dueling, as V(s) + A(s, a) - mean A(s, ·) (Wang et al. 2016, equation 9).

    The mean is over all actions, forbidden ones included: it only settles what of Q is V and what is A.

    Args:
        task: Makes its network.
        choices: Number of actions.
        dueling: Whether V and A are apart.
    """

    def __init__(self, task: Task, choices: int, dueling: bool) -> None:
        super().__init__()
        self.dueling = dueling
        self.network = task.make_network(0)
        self.head = nn.Linear(self.network.out_features, choices + dueling)

    def forward(self, observation: Observation) -> torch.Tensor:
        """Return [B, choices] for `observation` [B, *obs]."""
        outputs: torch.Tensor = self.head(self.network(observation))
        if not self.dueling:
            return outputs
        value, advantage = outputs[:, :1], outputs[:, 1:]
        return value + advantage - advantage.mean(-1, keepdim=True)


class TargetParameters(FlatParameters):
    """Parameters that move towards others in one gradient step of `every`, by `rate` of the way.

    Args:
        parameters: See `FlatParameters`.
        every: Gradient steps from one move to the next.
        rate: How far it goes; 1 copies.
    """

    STATE = ("flat", "steps_since")

    steps_since: torch.Tensor

    def __init__(self, parameters: Iterable[nn.Parameter], every: int, rate: float) -> None:
        super().__init__(parameters)
        self.every, self.rate = every, rate
        self.register_buffer("steps_since", torch.zeros((), device=self.flat.device))

    @torch.no_grad()
    def follow_when_due(self, source: FlatParameters) -> None:
        """Count a gradient step of `source`, whose parameters have the same shapes, and move if it is the one."""
        due = self.steps_since.add_(1.0).remainder_(self.every) == 0
        if self.is_traced or not self.flat.is_cpu:  # without a look at the count: by 0 of the way if not due
            self.flat.lerp_(source.flat, due * self.rate)
        elif due.item():
            self.follow(source, self.rate)


class DQN(BaseAlgorithm):
    """Learns what every action is worth, and takes the best one."""

    Options: ClassVar[type[DQNOptions]] = DQNOptions
    has_critic = False
    shares_gradients = True
    options: DQNOptions

    def __init__(self, options: DQNOptions, task: Task) -> None:
        super().__init__(options, task)
        if not isinstance(task.action_space, spaces.Discrete):
            raise cannot_act("dqn", task.action_space)
        self.rollout_length = options.rollout_length
        choices = int(task.action_space.n)
        self.distribution = Categorical(choices)
        self.values = ActionValues(task, choices, options.dueling)
        self.targets = frozen_copy(self.values, ActionValues(task, choices, options.dueling))
        self.to(task.device)
        self.optimizer = FlatAdam(self.values.parameters(), options.adam_epsilon, options.max_grad_norm)
        target = options.target_update_every, options.tau
        self.target_parameters = TargetParameters(self.targets.parameters(), *target)
        self.learner = ReplayLearner(self, options, self.step, [self.optimizer, self.target_parameters], METRICS)
        self.generators = self.learner.generators
        self.memory_bytes = self.learner.buffer.memory_bytes

    # --- acting ---

    @property
    def epsilon(self) -> float:
        """Part of the actions of training that are random now: all in the warm-up."""
        if self.learner.warming_up:
            return 1.0
        span = max(round(self.task.total_frames * self.options.exploration_fraction), 1)
        return value_at(self.options.epsilon, self.learner.frames, span)

    def act(
        self, observation: Observation, explore: torch.Generator | None = None, action_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return `action` [B], `evaluation_epsilon` of them random if sampled; see `BaseAlgorithm.act`."""
        return {ACTION: self._choose(observation, explore, action_mask, self.options.evaluation_epsilon)}

    def behave(
        self, observation: Observation, explore: torch.Generator, action_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return `action` [N], `epsilon` of them random; see `BaseAlgorithm.behave`."""
        return {ACTION: self._choose(observation, explore, action_mask, self.epsilon)}

    @torch.inference_mode()
    def _choose(
        self, observation: Observation, explore: torch.Generator | None, mask: torch.Tensor | None, epsilon: float
    ) -> torch.Tensor:
        values = self.values(self.learner.normalize(observation))  # [B, choices]
        best = self.distribution.mode(values, mask)
        if explore is None:
            return best
        equal = torch.zeros_like(values)
        random = self.distribution.sample(equal, equal, explore, mask)
        is_random = torch.rand(len(best), generator=explore, device=best.device) < epsilon
        return torch.where(is_random, random, best)

    # --- learning ---

    def update(self, trajectories: Trajectories, frames: int) -> dict[str, float]:
        """Learn from everything seen; see `BaseAlgorithm.update`."""
        epsilon = self.epsilon
        return self.learner.update(trajectories, frames) | {"exploration/epsilon": epsilon}

    def step(self, batch: ReplayBatch, noise: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Take one gradient step; return METRICS and TD errors [B]."""
        del noise

        def of_rows(batch: ReplayBatch) -> Loss:
            loss, value, error = self.loss(batch)
            return Loss(loss, [value.mean()], [error.abs()])

        norm, loss = self.optimizer.minimise(of_rows, batch)
        self.target_parameters.follow_when_due(self.optimizer)
        return [loss.value, *loss.means, norm], loss.rows[0]

    def loss(self, batch: ReplayBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the loss, Q(s, a) [B] and its error [B], the latter two without gradients.

        y = r + discount Q'(s', a'),  a' = argmax Q(s', ·) of the allowed actions if double, argmax Q'(s', ·) if not,
        E[w huber(Q(s, a) - y)].
        """
        with torch.no_grad():
            values = self.targets(batch.next_observation)  # [B, choices]
            by = self.values(batch.next_observation) if self.options.double else values
            target = batch.reward + batch.discount * at(values, masked(by, batch.next_action_mask).argmax(-1))
        value = at(self.values(batch.observation), batch.action)
        distance = F.smooth_l1_loss if self.options.huber else F.mse_loss
        loss = (batch.weight * distance(value, target, reduction="none")).mean()
        return loss, value.detach(), value.detach() - target

    def make_compiled_step(self) -> CompiledStep:
        """Return the gradient step in compilable form; see `BaseAlgorithm.make_compiled_step`."""
        return self.learner.make_compiled_step(self, NOT_IN_THE_STEP)

    # --- state ---

    def acting_tensors(self) -> list[torch.Tensor]:
        """Return what chooses actions, and the statistics of observations; see `BaseAlgorithm.acting_tensors`."""
        return [*self.values.parameters(), *self.learner.normalizer.buffers()]

    def take_frames(self, frames: int) -> None:
        """Know how many actions are random; see `BaseAlgorithm.take_frames`."""
        self.learner.frames = frames

    def segments(self) -> list[Segment]:
        """Return the replay buffer in pieces; see `BaseAlgorithm.segments`."""
        return self.learner.buffer.segments()

    def load_segments(self, segments: list[Segment]) -> None:
        """Take back the replay buffer; see `BaseAlgorithm.load_segments`."""
        self.learner.buffer.load_segments(segments)


def at(values: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """Return of `values` [B, choices] those of `action` [B] int64, [B]."""
    return values.gather(-1, action.unsqueeze(-1)).squeeze(-1)
