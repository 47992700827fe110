"""Stepping the environments through rollouts: when they are asked for, or one ahead while the algorithm learns."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.checker import check_first_step
from rl2cli.errors import EnvironmentFault
from rl2cli.keys import ACTION, ACTION_MASK, Observation, Trajectories
from rl2cli.reporting.progress import WorkerRow
from rl2cli.training.clock import Clock
from rl2cli.training.rollout import Rollout
from rl2cli.training.signals import StopRequest


class Collector:
    """Collects rollouts in `env` with `algorithm` acting.

    Args:
        algorithm: Acts.
        env: A vectorised adapter.
        clock: Told how long environment and policy took.
    """

    def __init__(self, algorithm: BaseAlgorithm, env: BaseEnvAdapter, clock: Clock) -> None:
        self.algorithm, self.env, self.clock = algorithm, env, clock
        self.explore = algorithm.task.make_generator("policy")
        self.rollout = self._make_rollout()
        """The last one that `collect` returned."""
        self.observation: Observation = {}
        self.action_mask: torch.Tensor | None = None
        self.started = self._checked = False
        self._steps = 0  # of the rollout that a signal cut short

    def reset(self, seeds: np.ndarray) -> None:
        """Start every environment anew, with a seed [N] for each."""
        self._begin_at(self.env.reset(seeds))
        self.rollout.next_is_init.fill_(True)
        self._steps = 0

    def collect(self, stop: StopRequest | None = None) -> Trajectories | None:
        """Return the next rollout, whose tensors are overwritten by later ones; None where `stop` cut it short.

        The state then has the steps that were made, so a run that goes on from it loses none.
        """
        return self.rollout.finish() if self._fill(self.rollout, self.algorithm, self.clock, stop) else None

    def close(self) -> None:
        """End what goes on beside the caller."""

    def workers(self) -> tuple[WorkerRow, ...]:
        """Return who steps the environments, where that is somebody else."""
        return ()

    def get_state(self) -> dict[str, Any]:
        """Return what the next rollout depends on, besides the algorithm."""
        return {
            "environments": self.env.get_state(),
            "next_is_init": self.rollout.next_is_init.clone(),
            "explore": self.explore.get_state(),
            "begun": self._filled.get_state(self._steps) if self._steps else None,
        }

    def set_state(self, state: dict[str, Any]) -> tuple[str | None, bool]:
        """Go on from `get_state`.

        Returns:
            Why the environments cannot, in words: they have to be reset then. And whether the random numbers start
            anew, because the state is from another kind of device.
        """
        self.rollout.next_is_init.copy_(state["next_is_init"])
        problem = self._restore_environments(state["environments"])
        begun = state.get("begun")
        if begun is not None and problem is None:
            self._steps = self._filled.set_state(begun)
        try:
            self.explore.set_state(state["explore"])
        except RuntimeError:
            return problem, True
        return problem, False

    def _restore_environments(self, state: dict[str, Any] | None) -> str | None:
        if state is None or self.env.resume == "none":
            return "the running episodes cannot be restored"
        try:
            self._begin_at(self.env.set_state(state))
        except EnvironmentFault as fault:
            return f"the running episodes could not be restored ({fault.message})"
        return None

    def _begin_at(self, shown: tuple[Observation, dict[str, Any]]) -> None:
        self.observation, info = shown
        self.action_mask = info.get(ACTION_MASK)
        self.started = True

    def _make_rollout(self) -> Rollout:
        env, algorithm = self.env, self.algorithm
        return Rollout(algorithm.rollout_length, env.num_envs, env.observation_space, algorithm.task.device)

    @property
    def _filled(self) -> Rollout:
        """The rollout that `collect` fills while its caller waits."""
        return self.rollout

    def _fill(self, rollout: Rollout, actor: BaseAlgorithm, clock: Clock, stop: StopRequest | None) -> bool:
        """Step the environments through `rollout`, or the rest of it; return False where `stop` cut it short."""
        if not self._steps:
            rollout.begin(self.observation, self.action_mask)
        after, begun = time.perf_counter(), clock.environment
        for t in range(self._steps, rollout.length):
            if stop is not None and stop.is_set:
                self._steps = t
                return False
            observation, action_mask = rollout.at(t)
            chosen = actor.behave(observation, self.explore, action_mask)
            before = time.perf_counter()
            clock.policy += before - after
            step = self.env.step(chosen[ACTION])
            after = time.perf_counter()
            clock.environment += after - before
            if not self._checked:  # [N] against [N, 1] broadcasts silently
                check_first_step(self.env, observation, step)
                self._checked = True
            rollout.store(t, chosen, step)
        steps = (rollout.length - self._steps) * self.env.num_envs
        clock.step_seconds = max(0.0, clock.environment - begun) / max(1, steps)
        self._steps = 0
        self.observation, self.action_mask = rollout.at(rollout.length)
        return True


class OverlappedCollector(Collector):
    """Collects the next rollout in a thread while its caller learns from the last, so it acts one update behind.

    Which weights act in which rollout does not depend on how fast anything is: rollout k + 1 is collected with those
    that `algorithm` had when `collect` returned rollout k.

    Args:
        algorithm: Learns.
        env: See `Collector`.
        clock: Told how long the caller waited, as time of the environment.
        actor: Another one of the same kind, which acts with copies of the weights.
    """

    def __init__(self, algorithm: BaseAlgorithm, env: BaseEnvAdapter, clock: Clock, actor: BaseAlgorithm) -> None:
        super().__init__(algorithm, env, clock)
        self.actor = actor
        self.actor.acts_for_another = True
        self._take_weights(self.algorithm.acting_tensors())
        self._next = self._make_rollout()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._cut_short = False
        self._before: dict[str, Any] | None = None  # the state when the rollout that is under way began

    def collect(self, stop: StopRequest | None = None) -> Trajectories | None:
        """Return the rollout that was under way, and begin the next; None where `stop` cut that short."""
        began = time.perf_counter()
        if self._thread is None:
            self._next.next_is_init.copy_(self.rollout.next_is_init)
            self._cut_short = not self._fill(self._next, self.actor, Clock(), stop)
        else:
            self._wait()
        if self._cut_short:
            return None
        self.clock.environment += time.perf_counter() - began
        self.rollout, self._next = self._next, self.rollout
        trajectories = self.rollout.finish()
        self._next.next_is_init.copy_(self.rollout.next_is_init)
        self._take_weights(self.algorithm.acting_tensors())
        self._before = self._state_now()
        self._thread = threading.Thread(target=self._fill_next, args=(stop,), name="rl2-collect", daemon=True)
        self._thread.start()
        return trajectories

    def close(self) -> None:
        """Wait for the rollout that is under way, which a signal cuts short; it is not used."""
        if self._thread is not None:
            self._thread.join()

    def get_state(self) -> dict[str, Any]:
        """Return what the rollout that is under way depended on when it began; it is collected again from there."""
        return self._state_now() if self._before is None else self._before

    def _state_now(self) -> dict[str, Any]:
        acting = {str(index): each.detach().clone() for index, each in enumerate(self.actor.acting_tensors())}
        return {**super().get_state(), "acting": acting}

    def set_state(self, state: dict[str, Any]) -> tuple[str | None, bool]:
        """See `Collector`."""
        saved = state.get("acting")
        learned = self.algorithm.acting_tensors()
        self._take_weights(learned if saved is None else [saved[str(index)] for index in range(len(learned))])
        return super().set_state(state)

    @property
    def _filled(self) -> Rollout:
        return self._next

    @torch.no_grad()
    def _take_weights(self, weights: Sequence[torch.Tensor]) -> None:
        """Have the actor act with copies of `weights`."""
        for own, given in zip(self.actor.acting_tensors(), weights, strict=True):
            own.copy_(given)

    def _fill_next(self, stop: StopRequest | None) -> None:
        try:
            self._cut_short = not self._fill(self._next, self.actor, Clock(), stop)
        except BaseException as failure:  # raised where it is waited for
            self._failure = failure

    def _wait(self) -> None:
        assert self._thread is not None
        self._thread.join()
        if self._failure is not None:
            raise self._failure
