"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), with a clipped objective.

Reads top to bottom: heads, act, what a rollout is turned into, loss, update. Details and their sources: `ppo_options`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from rl2cli.algorithms.adam import FlatAdam
from rl2cli.algorithms.base import BaseAlgorithm, Task
from rl2cli.algorithms.compiled import LEAST_ROWS, CompilationError, CompiledStep, sources
from rl2cli.algorithms.distributions import make_distribution
from rl2cli.algorithms.gradient_shards import Loss
from rl2cli.algorithms.gradient_step import GradientStep
from rl2cli.algorithms.normalization import ObservationNormalizer, RewardNormalizer, cut_reward
from rl2cli.algorithms.ppo_options import PPOOptions
from rl2cli.algorithms.returns import explained_variance, generalized_advantage_estimation, vtrace
from rl2cli.algorithms.schedules import value_at
from rl2cli.errors import NonFiniteError
from rl2cli.keys import (
    ACTION,
    ACTION_LOG_PROB,
    ACTION_MASK,
    DONE,
    FINAL_INDEX,
    FINAL_OBSERVATION,
    OBSERVATION,
    REWARD,
    STATE_VALUE,
    TERMINATED,
    VALID,
    Observation,
    Trajectories,
    map_observation,
    observation_of_frames,
)
from rl2cli.networks.base import BaseNetwork
from rl2cli.networks.images import planes_last, take_rows
from rl2cli.networks.mlp import linear
from rl2cli.spaces import allocate, count_numbers, mask_width

POLICY_OUTPUT = "policy_output"
"""[T, N, num_outputs]: what the policy's head gave when it acted; the old log-probabilities are computed from it."""


METRICS = (
    "loss/policy", "loss/value", "loss/entropy", "loss/kl", "loss/clip_fraction", "loss/gradient_norm",
)  # fmt: skip
KL, GRADIENT_NORM = METRICS.index("loss/kl"), METRICS.index("loss/gradient_norm")


class Batch(NamedTuple):
    """Frames to learn from; every tensor has M rows."""

    observation: Observation
    """[M, *obs], as the network takes it, or as it came where that would take too much memory."""
    action: torch.Tensor
    """[M, *act]."""
    log_prob: torch.Tensor
    """[M], of the action when it was chosen."""
    advantage: torch.Tensor
    """[M]."""
    value_target: torch.Tensor
    """[M]."""
    value: torch.Tensor
    """[M], V(s) before the update."""
    action_mask: torch.Tensor | None
    """[M, A] bool."""

    @property
    def num_rows(self) -> int:
        """M."""
        return self.advantage.shape[0]  # `len` would make it a constant of compiled code

    def select(self, index: torch.Tensor | slice) -> Batch:
        """Return the rows at `index`."""

        def chosen(tensor: torch.Tensor) -> torch.Tensor:
            return tensor[index] if isinstance(index, slice) else take_rows(tensor, index)

        observation = map_observation(chosen, self.observation)
        return Batch(observation, *[None if tensor is None else chosen(tensor) for tensor in self[1:]])  # type: ignore[arg-type]  # only the mask may be None

    def tensors(self) -> list[torch.Tensor]:
        """Return every tensor, in order."""
        found: list[torch.Tensor] = []
        map_observation(found.append, self.observation)
        return found + [tensor for tensor in self[1:] if tensor is not None]

    def with_tensors(self, tensors: Sequence[torch.Tensor]) -> Batch:
        """Return a batch of this structure that holds `tensors`, in the order of `tensors()`."""
        rest = iter(tensors)
        observation = map_observation(lambda _: next(rest), self.observation)
        return Batch(observation, *[None if tensor is None else next(rest) for tensor in self[1:]])  # type: ignore[arg-type]  # as above


NOT_IN_THE_STEP = {
    "rollout_length", "epochs", "learning_rate", "gamma", "gae_lambda", "clip_coef", "entropy_coef", "target_kl",
    "adaptive_kl", "normalize_reward", "clip_reward", "orthogonal_init", "log_std_init",
}  # fmt: skip
"""Options that are no part of a gradient step's code: runs that differ in these share what was compiled."""


BYTES_AT_ONCE = 1 << 26
"""Of observations, as float32, whose values are computed together; more would only take more memory."""
BYTES_PREPARED = 1 << 28
"""Of a rollout's observations as the network takes them, up to which they are made so once, not in every epoch."""


class PPO(BaseAlgorithm):
    """Actor and critic with networks of their own or with one in common, one optimiser for both."""

    Options: ClassVar[type[PPOOptions]] = PPOOptions
    can_overlap = True
    shares_gradients = True
    options: PPOOptions

    def __init__(self, options: PPOOptions, task: Task) -> None:
        super().__init__(options, task)
        self.rollout_length = options.rollout_length
        self.distribution = make_distribution(task.action_space)
        self.generators = {"minibatches": task.make_generator("minibatches")}
        self.policy = task.make_network(0)
        self.policy_head = nn.Linear(self.policy.out_features, self.distribution.num_outputs)
        self.has_critic = not options.share_network
        self.critic = task.make_critic_network(0) if self.has_critic else None
        self.value_head = nn.Linear(self.networks()[-1].out_features, 1)
        self.log_std = nn.Parameter(torch.full((self.distribution.num_log_std,), options.log_std_init))
        if options.orthogonal_init:
            self._initialise()
        self.to(task.device)
        self.normalizer = ObservationNormalizer(task.observation_space, task.device)
        self.reward_normalizer = RewardNormalizer(task.num_envs, options.gamma, task.device)
        self.optimizer = FlatAdam(self.parameters(), options.adam_epsilon, options.max_grad_norm)
        self.adaptive_factor = 1.0
        self._numbers = count_numbers(task.observation_space)
        self._rows_at_once = max(BYTES_AT_ONCE // (4 * max(self._numbers, 1)), 1)
        mask = torch.zeros(0) if task.has_action_mask else None
        self._structure = Batch._make([allocate(task.observation_space, (0,)), *[torch.zeros(0)] * 5, mask])
        self._gradient_step = GradientStep(self._step, self, [self.optimizer], task.device)

    def _initialise(self) -> None:
        for network in self.networks():
            for module in network.modules():
                if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
                    _orthogonal(module, math.sqrt(2.0))
        _orthogonal(self.policy_head, 0.01)
        _orthogonal(self.value_head, 1.0)

    def networks(self) -> list[BaseNetwork]:
        """Return the actor's network, and the critic's where it has one of its own."""
        return [self.policy] if self.critic is None else [self.policy, self.critic]

    # --- acting ---

    @torch.inference_mode()
    def act(
        self, observation: Observation, explore: torch.Generator | None = None, action_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return `action` [B, *act] and what else `update` needs; see `BaseAlgorithm.act`.

        That is `policy_output` [B, num_outputs], and `state_value` [B, 1] where it costs nothing: of a shared network;
        where another with newer weights will learn from it, `action_log_prob` [B] alone, since it has its own of those.
        """
        features = self.policy(self._prepared(observation))
        outputs = linear(self.policy_head, features)
        if explore is None:
            return {ACTION: self.distribution.mode(outputs, action_mask), POLICY_OUTPUT: outputs}
        action = self.distribution.sample(outputs, self.log_std, explore, action_mask)
        if self.task.lag or self.acts_for_another:
            log_prob, _ = self.distribution.log_prob_and_entropy(outputs, self.log_std, action, action_mask)
            return {ACTION: action, ACTION_LOG_PROB: log_prob}
        chosen = {ACTION: action, POLICY_OUTPUT: outputs}
        return chosen if self.critic is not None else chosen | {STATE_VALUE: self.value_head(features)}

    def _prepared(self, observation: Observation) -> Observation:
        """Return raw `observation` [B, *obs] as the networks take it."""
        if not self.options.normalize_observation:
            return map_observation(planes_last, observation)
        prepared: Observation = self.normalizer(observation, self.policy.compute_dtype)
        return prepared

    def _prepares_once(self) -> bool:
        rows = (self.rollout_length + 1) * self.task.num_envs
        return rows * self._numbers * self.policy.compute_dtype.itemsize <= BYTES_PREPARED

    # --- learning ---

    def update(self, trajectories: Trajectories, frames: int) -> dict[str, float]:
        """Learn from one rollout; see `BaseAlgorithm.update`."""
        options, total = self.options, self.task.total_frames
        learning_rate = value_at(options.learning_rate, frames, total) * self.adaptive_factor
        scheduled = [value_at(schedule, frames, total) for schedule in (options.clip_coef, options.entropy_coef)]
        clip_coef, entropy_coef = [torch.full((), value, device=self.task.device) for value in scheduled]
        self.optimizer.learning_rate.fill_(learning_rate)

        batch = self.make_batch(trajectories)
        if not len(batch.advantage):
            return {}  # every row was a reset
        epochs_done, metrics, norms = 0, torch.zeros(0), []
        for _ in range(options.epochs):
            for minibatch in self._minibatches(batch):
                metrics = self._learn(minibatch, clip_coef, entropy_coef)
                norms.append(metrics[GRADIENT_NORM].clone())
            epochs_done += 1
            if options.target_kl is not None and metrics[KL] > 1.5 * options.target_kl:
                break
        self._check_finite(batch, metrics, (torch.stack(norms).sum() + metrics[:KL].sum()).item())
        self._update_statistics(trajectories)
        report = dict(zip(METRICS, metrics.tolist(), strict=True))
        if options.adaptive_kl is not None:
            self._adapt_learning_rate(report["loss/kl"], value_at(options.adaptive_kl, frames, total))
        return report | {
            "loss/explained_variance": explained_variance(batch.value, batch.value_target).item(),
            "loss/learning_rate": learning_rate,
            "loss/epochs": float(epochs_done),
        }

    @torch.no_grad()
    def make_batch(self, trajectories: Trajectories) -> Batch:
        """Turn a rollout into rows to learn from: values, old log-probabilities, advantages and value targets.

        Everything is computed with the weights and statistics there are, where the clipped objective starts. Others
        acted where there is a log-probability by them: V-trace corrects what their actions say where there is a lag,
        and where they are one update behind, by `overlap`, advantages are weighted by min(1, ratio) of both policies'
        probabilities: the decoupled objective of Hilton et al. 2021 (arXiv 2110.00641), whose weight is
        not truncated, with V-trace's rho; traces stay whole. Rows that were no frame are left out.
        """
        reward = trajectories[REWARD].squeeze(-1)  # [T, N]
        observation = map_observation(lambda tensor: tensor.flatten(0, 1), trajectories[OBSERVATION])
        if self._prepares_once():
            observation = self._prepared(observation)  # [(T+1) * N, *obs]
        if ACTION_LOG_PROB in trajectories:
            value, outputs = self._values_and_outputs(observation, reward.numel())
        else:
            value = self._values(observation, reward.numel(), trajectories.get(STATE_VALUE))
            outputs = trajectories[POLICY_OUTPUT].flatten(0, 1)
        value = value.view(len(reward) + 1, -1)  # [T+1, N]
        next_value = value[1:].clone()  # [T, N]
        final_index = trajectories[FINAL_INDEX]  # [K, 2]
        if len(final_index):
            final_value = self._value(self._prepared(trajectories[FINAL_OBSERVATION]))
            next_value[final_index[:, 0], final_index[:, 1]] = final_value
        reward = self._scaled(reward)
        action = trajectories[ACTION].flatten(0, 1)
        mask = trajectories[ACTION_MASK][:-1].flatten(0, 1) if ACTION_MASK in trajectories else None
        log_prob, _ = self.distribution.log_prob_and_entropy(outputs, self.log_std, action, mask)
        ratio = None
        if ACTION_LOG_PROB in trajectories:
            ratio = (log_prob.view_as(reward) - trajectories[ACTION_LOG_PROB]).exp()
        advantage = self._advantage(reward, value[:-1], next_value, ratio, trajectories)
        value_target = (advantage + value[:-1]).flatten()
        if ratio is not None and not self.task.lag:
            advantage *= ratio.clamp(max=1.0)
        batch = Batch(
            map_observation(lambda tensor: tensor[: reward.numel()], observation),
            action,
            log_prob,
            advantage.flatten(),
            value_target,
            value[:-1].flatten(),
            mask,
        )
        valid = trajectories[VALID].flatten()
        return batch if valid.all() else batch.select(valid.nonzero().squeeze(-1))

    def _scaled(self, reward: torch.Tensor) -> torch.Tensor:
        """Return raw rewards as they are learned from."""
        reward = cut_reward(reward, self.options.clip_reward)
        return self.reward_normalizer(reward) if self.options.normalize_reward else reward

    def _values(self, observation: Observation, frames: int, known: torch.Tensor | None) -> torch.Tensor:
        """Return V of `observation` [M + N, *obs], [M + N]; those of the first M `frames` may be `known` [T, N, 1]."""
        if known is None:
            return torch.cat([self._value(part) for part in self._parts(observation, frames)])
        last = map_observation(lambda tensor: tensor[frames:], observation)
        return torch.cat([known.flatten(), self._value(last if self._prepares_once() else self._prepared(last))])

    def _values_and_outputs(self, observation: Observation, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return V of `observation` [M + N, *obs], [M + N], and what the policy's head gives for `frames`, [M, ...]."""
        values, outputs = [], []
        for part in self._parts(observation, frames):
            features = self.policy(part)
            outputs.append(linear(self.policy_head, features))
            values.append(self.value_head(features).squeeze(-1) if self.critic is None else self._value(part))
        return torch.cat(values), torch.cat(outputs)[:frames]

    def _parts(self, observation: Observation, frames: int) -> Iterator[Observation]:
        """Yield `observation` [M + N, *obs] as the networks take it, in parts that fit in memory as numbers."""
        for start in range(0, frames + self.task.num_envs, self._rows_at_once):
            part = map_observation(lambda tensor, s=start: tensor[s : s + self._rows_at_once], observation)
            yield part if self._prepares_once() else self._prepared(part)

    def _value(self, observation: Observation) -> torch.Tensor:
        """Return V of `observation` [B, *obs] as the networks take it, [B]."""
        network = self.policy if self.critic is None else self.critic
        value: torch.Tensor = self.value_head(network(observation)).squeeze(-1)
        return value

    def _advantage(
        self,
        reward: torch.Tensor,
        value: torch.Tensor,
        next_value: torch.Tensor,
        ratio: torch.Tensor | None,
        trajectories: Trajectories,
    ) -> torch.Tensor:
        """Return advantages [T, N]; `ratio` [T, N] as for `vtrace`, which is used where there is a lag."""
        terminated, done = (trajectories[key].squeeze(-1) for key in (TERMINATED, DONE))
        terminated, done = terminated.float(), (done | terminated).float()
        arrays: list[Any] = [reward, value, next_value, terminated, done]
        if self.task.lag:
            arrays.append(ratio)
        on_cpu = reward.device.type == "cpu"
        if on_cpu:  # a loop over T of small operations is several times cheaper in numpy
            arrays = [array.numpy() for array in arrays]
        discounts = {"gamma": self.options.gamma, "gae_lambda": self.options.gae_lambda}
        estimate = vtrace if self.task.lag else generalized_advantage_estimation
        advantage = estimate(*arrays, **discounts)
        return torch.from_numpy(advantage) if on_cpu else advantage

    def _minibatches(self, batch: Batch) -> Iterator[Batch]:
        """Yield the batch in random minibatches of nearly equal size, at most `minibatch_size` rows each."""
        rows = len(batch.advantage)
        count = math.ceil(rows / self.options.minibatch_size)
        if count == 1:
            yield batch
            return
        generator = self.generators["minibatches"]
        order = torch.randperm(rows, generator=generator, device=generator.device)
        bounds = [rows * k // count for k in range(count + 1)]
        for start, end in itertools.pairwise(bounds):
            yield batch.select(order[start:end])  # not all at once: a minibatch of images stays in the cache

    def _learn(self, batch: Batch, clip_coef: torch.Tensor, entropy_coef: torch.Tensor) -> torch.Tensor:
        """Take one gradient step on raw observations; return the METRICS of this minibatch before it."""
        if not self._prepares_once():
            batch = batch._replace(observation=self._prepared(batch.observation))
        metrics = self._gradient_step(clip_coef, entropy_coef, *batch.tensors())
        if metrics.is_cpu:
            values = metrics.tolist()
            self._check_finite(batch, metrics, sum(values[:KL]) + values[GRADIENT_NORM])
        return metrics

    def _step(self, clip_coef: torch.Tensor, entropy_coef: torch.Tensor, *rows: torch.Tensor) -> torch.Tensor:
        """Take the gradient step of a batch with the tensors `rows`, eagerly."""
        batch = self.normalized(self._structure.with_tensors(rows))
        norm, loss = self.optimizer.minimise(lambda batch: Loss(*self.loss(batch, clip_coef, entropy_coef)), batch)
        return torch.stack([*loss.means, norm])

    def make_compiled_step(self) -> CompiledStep:
        """Return the whole gradient step in compilable form; see `BaseAlgorithm.make_compiled_step`."""
        if next(itertools.chain.from_iterable(network.buffers() for network in self.networks()), None) is not None:
            raise CompilationError("a network has buffers, and their values would become part of the code")
        options = self.options
        if options.minibatch_size < LEAST_ROWS:
            raise CompilationError("a minibatch of one row is not compiled")
        return self._gradient_step.make_compiled(
            lambda rows: [torch.tensor(0.2), torch.tensor(0.01), *self._example_batch(rows).tensors()],
            options.minibatch_size,
            [
                options.model_dump(exclude=NOT_IN_THE_STEP),
                *[(network, network.options, network.compute_dtype) for network in self.networks()],
                *[self.task.observation_space, self.task.action_space],
                *sources(self, also=[self.distribution]),
            ],
            calls=self.task.total_frames * options.epochs / options.minibatch_size,
            rows_vary=True,
        )

    @torch.no_grad()
    def _example_batch(self, rows: int) -> Batch:
        """Return made-up rows of the task's shapes, of which some are clipped."""
        generator = torch.Generator().manual_seed(rows)

        def noise(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator)

        def fill(tensor: torch.Tensor) -> torch.Tensor:
            return noise(*tensor.shape) if tensor.is_floating_point() else tensor

        task = self.task
        observation = self._prepared(map_observation(fill, allocate(task.observation_space, (rows,))))
        mask = torch.ones(rows, mask_width(task.action_space), dtype=torch.bool) if task.has_action_mask else None
        outputs = self.policy_head(self.policy(observation))
        action = self.distribution.sample(outputs, self.log_std, generator, mask)
        log_prob, _ = self.distribution.log_prob_and_entropy(outputs, self.log_std, action, mask)
        log_prob += 0.3 * noise(rows)
        return Batch(observation, action, log_prob, noise(rows), noise(rows), noise(rows), mask)

    def normalized(self, batch: Batch) -> Batch:
        """Return `batch` with advantages of mean 0 and variance 1, if they are to be normalised."""
        if not self.options.normalize_advantage or batch.num_rows <= 1:
            return batch
        variance, mean = torch.var_mean(batch.advantage)
        return batch._replace(advantage=(batch.advantage - mean) / variance.sqrt().clamp_min(1e-4))

    def loss(
        self, batch: Batch, clip_coef: torch.Tensor, entropy_coef: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Return the loss of a `normalized` batch and its parts: policy, value, entropy, approximate KL, part clipped.

        loss = -E[min(r A, clip(r, 1 - c, 1 + c) A)] + c_v E[(V - R)²] - c_e E[H]  (equations 7 and 9), r the ratio of
        probabilities. KL by Schulman's low-variance estimate E[(r - 1) - log r], joschu.net/blog/kl-approx.html.
        """
        features = self.policy(batch.observation)
        outputs = self.policy_head(features)
        log_prob, entropy = self.distribution.log_prob_and_entropy(
            outputs, self.log_std, batch.action, batch.action_mask
        )
        log_ratio = log_prob - batch.log_prob
        ratio = log_ratio.exp()
        advantage = batch.advantage
        low, high = 1.0 - clip_coef, 1.0 + clip_coef
        clipped = torch.clamp(ratio, low, high)
        policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
        value = self.value_head(features if self.critic is None else self.critic(batch.observation)).squeeze(-1)
        value_loss = self._value_loss(value, batch)
        entropy_mean = entropy.mean()
        loss = policy_loss + self.options.value_coef * value_loss - entropy_coef * entropy_mean
        with torch.no_grad():
            kl = (ratio - 1.0 - log_ratio).mean()
            clip_fraction = (clipped != ratio).float().mean()
        return loss, (policy_loss.detach(), value_loss.detach(), entropy_mean.detach(), kl, clip_fraction)

    def _value_loss(self, value: torch.Tensor, batch: Batch) -> torch.Tensor:
        limit = self.options.clip_value
        if limit is None:
            return F.mse_loss(value, batch.value_target)
        near = batch.value + (value - batch.value).clamp(-limit, limit)
        errors = [F.mse_loss(each, batch.value_target, reduction="none") for each in (value, near)]
        return torch.max(*errors).mean()

    def _adapt_learning_rate(self, kl: float, wanted: float) -> None:
        """Follow `adaptive_kl`, now `wanted`, as rsl_rl does, within a factor of a hundred of the option's rate."""
        if kl > 2.0 * wanted:
            self.adaptive_factor = max(self.adaptive_factor / 1.5, 0.01)
        elif kl < wanted / 2.0:
            self.adaptive_factor = min(self.adaptive_factor * 1.5, 100.0)

    def _update_statistics(self, trajectories: Trajectories) -> None:
        valid = trajectories[VALID].squeeze(-1)  # [T, N]
        if self.options.normalize_observation:
            self.normalizer.update(observation_of_frames(trajectories))
        if self.options.normalize_reward:
            reward, done = (trajectories[key].squeeze(-1) for key in (REWARD, DONE))
            self.reward_normalizer.update(cut_reward(reward, self.options.clip_reward), done, valid)

    def _check_finite(self, batch: Batch, metrics: torch.Tensor, total: float) -> None:
        """Raise where losses and gradients, in `total`, were not finite; the parameters still are."""
        if math.isfinite(total):
            return
        values = zip(METRICS, metrics.tolist(), strict=True)
        bad = [name for name, value in values if not math.isfinite(value)] or [METRICS[GRADIENT_NORM]]
        tensors = {"advantage": batch.advantage, "value_target": batch.value_target, "log_prob": batch.log_prob}
        inputs = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
        also = f"; so were its inputs {', '.join(inputs)}" if inputs else ""
        raise NonFiniteError(
            f"{', '.join(bad)} not finite in PPO's update{also}",
            hint="a lower learning_rate or normalize_reward = true often helps; the last checkpoint is good",
            tensors={"observation": batch.observation, "action": batch.action, "value": batch.value, **tensors},
        )

    # --- state ---

    def acting_tensors(self) -> list[torch.Tensor]:
        """Return parameters and the statistics of observations; see `BaseAlgorithm.acting_tensors`."""
        return [*self.parameters(), *self.normalizer.buffers()]

    def get_extra_state(self) -> dict[str, float]:
        """Return what is neither a parameter nor a buffer."""
        return {"adaptive_factor": self.adaptive_factor}

    def set_extra_state(self, state: dict[str, float]) -> None:
        """Take back `get_extra_state`; called by `load_state_dict`."""
        self.adaptive_factor = state["adaptive_factor"]


def _orthogonal(module: nn.Module, gain: float) -> None:
    assert isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))
    nn.init.orthogonal_(module.weight, gain)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
