"""Measuring a policy on environments of its own: episodes are assigned beforehand and all of them count."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.errors import EnvironmentFault, NonFiniteError
from rl2cli.keys import ACTION, ACTION_MASK, map_observation
from rl2cli.reporting.progress import Evaluation
from rl2cli.training.finite import ENVIRONMENT_HINT, check_observation
from rl2cli.training.seeding import environment_seeds, make_generator
from rl2cli.training.signals import StopRequest

MAX_PARALLEL = 128
"""Environments stepped together in an evaluation; more episodes are played one after the other."""
CHECK_EVERY = 16
"""Steps between looks at whether observations are finite, besides those at the ends of episodes."""
MAX_EPISODE_LENGTH = 1_000_000
"""Steps after which an evaluation gives an episode up."""


class Played(NamedTuple):
    """Whole episodes, in the order of the environments they were assigned to."""

    returns: np.ndarray
    """[episodes] float64."""
    lengths: np.ndarray
    """[episodes] int64."""
    frames: int = 0
    """Steps of all environments, those beyond their quota included, by which speed is measured."""


def play_episodes(
    algorithm: BaseAlgorithm,
    env: BaseEnvAdapter,
    episodes: int,
    seeds: np.ndarray,
    explore: torch.Generator | None = None,
    stop: StopRequest | None = None,
) -> Played | None:
    """Play `episodes` episodes: environment n plays its quota, as many as the others or one more, and all count.

    Args:
        algorithm: Acts; nothing of it changes.
        env: N environments, N no larger than `episodes`.
        episodes: How many in all.
        seeds: [N] int64, base seed of each environment.
        explore: Samples actions with this generator; None acts deterministically.
        stop: Ends it early, without a result, where a signal came.

    Raises:
        EnvironmentFault: An episode does not end.
        NonFiniteError: An observation or a return is not finite.
    """
    num_envs = env.num_envs
    quota = np.full(num_envs, episodes // num_envs)
    quota[: episodes % num_envs] += 1
    finished: list[list[tuple[float, int]]] = [[] for _ in range(num_envs)]
    returns, lengths = np.zeros(num_envs), np.zeros(num_envs, np.int64)
    remaining, frames, steps = episodes, 0, 0
    device = algorithm.task.device
    elsewhere = env.device != device
    observation, info = env.reset(seeds)
    while remaining:
        if stop is not None and stop.signal_number is not None:
            return None
        mask = info.get(ACTION_MASK)
        if elsewhere:
            observation = map_observation(lambda tensor: tensor.to(device), observation)
            mask = None if mask is None else mask.to(device)
        if steps % CHECK_EVERY == 0:
            check_observation(observation, "in an evaluation")
        step = env.step(algorithm.act(observation, explore, mask)[ACTION])
        observation, info = step.observation, step.info
        steps += 1
        frames += _count(step, returns, lengths)
        if step.final_observation is None:
            if steps > MAX_EPISODE_LENGTH:  # no episode can be longer before
                check_length(int(lengths.max()))
            continue
        check_observation(step.final_observation, "in an evaluation")
        for n in (step.terminated | step.truncated).nonzero().flatten().tolist():
            if not math.isfinite(returns[n]):
                raise NonFiniteError(
                    f"environment {n} returned a reward that is not finite, in an evaluation", hint=ENVIRONMENT_HINT
                )
            if len(finished[n]) < quota[n]:
                finished[n].append((returns[n], lengths[n]))
                remaining -= 1
            returns[n], lengths[n] = 0.0, 0
    played = [episode for per_env in finished for episode in per_env]
    return Played(np.array([r for r, _ in played]), np.array([n for _, n in played], np.int64), frames)


def _count(step: Step, returns: np.ndarray, lengths: np.ndarray) -> int:
    """Add a step to the running episodes; return how many frames it was."""
    reward = step.reward.numpy() if step.reward.is_cpu else step.reward.cpu().numpy()
    if step.valid is None:
        np.add(returns, reward, out=returns)
        np.add(lengths, 1, out=lengths)
        return len(lengths)
    valid = step.valid.cpu().numpy()
    np.add(returns, np.where(valid, reward, 0.0), out=returns)
    np.add(lengths, valid, out=lengths)
    return int(np.count_nonzero(valid))


def check_length(longest: int) -> None:
    """Check that no episode goes on for ever; `longest` is the steps so far of the longest.

    Raises:
        EnvironmentFault: It does.
    """
    if longest > MAX_EPISODE_LENGTH:
        raise EnvironmentFault(
            f"an episode did not end within {MAX_EPISODE_LENGTH:,} steps",
            hint="give the environment a time limit; with Gymnasium: max_episode_steps under [env]",
        )


def interval_95(returns: np.ndarray) -> float:
    """Return half the width of the 95 % confidence interval of the mean, by Student's t; 0 for one episode."""
    count = len(returns)
    if count < 2:
        return 0.0
    return student_t_975(count - 1) * float(returns.std(ddof=1)) / math.sqrt(count)


def student_t_975(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t (Cornish-Fisher expansion, Abramowitz and Stegun 26.7.5)."""
    z = 1.959963984540054
    if degrees == 1:
        return 12.706
    if degrees == 2:
        return 4.303
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / degrees ** (power + 1) for power, term in enumerate(terms)))


class Evaluator:
    """Evaluates on environments made at the first evaluation and kept; each evaluation has its own seeds.

    Args:
        make_env: Makes a vectorised adapter of the given number of environments.
        episodes: Deterministic episodes per evaluation.
        stochastic_episodes: Episodes with sampled actions per evaluation.
        seed: The run's seed.
    """

    def __init__(
        self, make_env: Callable[[int], BaseEnvAdapter], episodes: int, stochastic_episodes: int, seed: int
    ) -> None:
        self._make_env = make_env
        self._episodes = episodes
        self._stochastic_episodes = stochastic_episodes
        self._seed = seed
        self._envs: dict[int, BaseEnvAdapter] = {}
        self.count = 0
        self._remarked: list[BaseEnvAdapter] = []
        self.remarks: list[str] = []
        """What is worth knowing about its environments; whoever reports it takes it out."""

    def prepare(self) -> None:
        """Make the environments now, so that those in processes of their own get ready beside what goes on here."""
        for episodes in (self._episodes, self._stochastic_episodes):
            if episodes:
                self._environments(min(episodes, MAX_PARALLEL))

    def evaluate(self, algorithm: BaseAlgorithm, frames: int, stop: StopRequest | None = None) -> Evaluation | None:
        """Return the returns of the policy as it is at `frames`, or None where a signal cut it short."""
        played = self._play(algorithm, self._episodes, None, stop)
        sampled: Played | None = Played(np.zeros(0), np.zeros(0, np.int64))
        if played is not None and self._stochastic_episodes:
            generator = make_generator(self._seed, "evaluation actions", algorithm.task.device, self.count)
            sampled = self._play(algorithm, self._stochastic_episodes, generator, stop)
        if played is None or sampled is None:
            return None
        self.count += 1
        deterministic, stochastic = played.returns, sampled.returns
        return Evaluation(
            frames=frames,
            mean_return=float(deterministic.mean()),
            std_return=float(deterministic.std()),
            episodes=len(deterministic),
            interval=interval_95(deterministic),
            stochastic_mean=float(stochastic.mean()) if len(stochastic) else None,
            stochastic_std=float(stochastic.std()) if len(stochastic) else None,
            stochastic_episodes=len(stochastic),
        )

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs.values():
            env.close()
        self._envs.clear()

    def _play(
        self, algorithm: BaseAlgorithm, episodes: int, explore: torch.Generator | None, stop: StopRequest | None
    ) -> Played | None:
        num_envs = min(episodes, MAX_PARALLEL)
        env = self._environments(num_envs)
        seeds = environment_seeds(self._seed, "evaluation", num_envs, self.count)
        played = play_episodes(algorithm, env, episodes, seeds, explore, stop)
        self._remark(env)
        return played

    def _environments(self, num_envs: int) -> BaseEnvAdapter:
        if num_envs not in self._envs:
            self._envs[num_envs] = self._make_env(num_envs)
        return self._envs[num_envs]

    def _remark(self, env: BaseEnvAdapter) -> None:
        """Tell once what a process of their own costs."""
        if env.process_cost is not None and env not in self._remarked:
            seconds, memory = env.process_cost
            self._remarked.append(env)
            self.remarks.append(
                f"evaluations have a process of their own: {memory / 1e6:,.0f} MB, {seconds:.0f} s to start, beside "
                "the training's start"
            )
