"""A Gymnasium environment's own vector form, under each of Gymnasium's autoreset modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from rl2cli.envs import numpy_state
from rl2cli.envs.advice import BROKEN, RAISED, UNSEEN
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.buffers import BrokenContractError, allocate_buffers
from rl2cli.envs.gymnasium_make import make
from rl2cli.envs.gymnasium_options import GymnasiumOptions
from rl2cli.envs.masks import as_mask, find_mask, without_mask
from rl2cli.envs.rendering import pictures_per_second
from rl2cli.envs.seeding import joint_seed
from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.keys import Observation
from rl2cli.options import Options as BaseOptions
from rl2cli.spaces import (
    Array,
    Space,
    action_array,
    action_leaves,
    mask_width,
    observation_space,
    to_backend_batch,
)


class GymnasiumVectorAdapter(BaseEnvAdapter):
    """N environments of one native vector environment.

    What its autoreset mode becomes: *next step*: where an episode ended, `observation` is its last one, and the
    environment's following step is no frame (`valid` is False, its action is ignored); *same step*: as rl2 has it;
    *disabled*: rl2 resets the ended rows at once. There is one generator for all rows, so their seeds are joined.
    """

    Options: ClassVar[type[BaseOptions]] = GymnasiumOptions
    options: GymnasiumOptions
    vectorised = True
    _reset_next: Array | None = None  # rows whose next step is no frame

    def setup(self) -> None:
        """Make the vector environment and find out whether its state can be saved."""
        import gymnasium

        self.device = torch.device("cpu")
        native = make(
            self.options,
            gymnasium.make_vec,
            num_envs=self.num_envs,
            vectorization_mode="vector_entry_point",
            **({} if self.render_mode is None else {"render_mode": self.render_mode}),
        )
        self._env = native
        self.render_fps = pictures_per_second(native.metadata)
        self._raw_space = without_mask(native.single_observation_space)
        self.observation_space = observation_space(self._raw_space)
        self.action_space = native.single_action_space
        action_leaves(self.action_space)
        self._finish = self._finisher(native.metadata.get("autoreset_mode"))
        resets_itself = self._finish != self._finish_disabled
        exact = self.render_mode is None and resets_itself and numpy_state.is_exact(native)
        self.resume = "state" if exact else "none"
        self.has_action_mask = find_mask(*native.reset(seed=0)) is not None
        masked = mask_width(self.action_space) if self.has_action_mask else 0
        self._buffers = allocate_buffers(self._raw_space, self.num_envs, masked)
        self._valid = np.ones(self.num_envs, dtype=np.bool_)
        self._valid_tensor = torch.from_numpy(self._valid)
        self._forget()
        # Gymnasium's own check of every action costs a fifth of CartPole's step; the policy's are in the space.
        native.action_space.contains = _always

    @property
    def raw_space(self) -> Space:
        """Space of an observation as the environment gives it, without its mask."""
        return self._raw_space

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes in all environments, from one seed made of all seeds.

        Raises:
            UsageError: `mask` leaves environments out, which native vector environments cannot.
        """
        if mask is not None and not mask.all():
            raise UsageError(
                f"{self.options.id}: its native vector form cannot reset single environments",
                hint='write vectorization = "single" under [env]',
            )
        try:
            answer = self._env.reset(seed=None if seed is None else joint_seed(np.asarray(seed)))
        except Exception as error:
            raise self._fault("reset", error) from error
        self._forget()
        try:
            self._show(*_taken_apart("reset", answer, 2))
        except BrokenContractError as error:
            raise self._broken("reset", error) from error
        return self._buffers.observation.tensors, self._buffers.info()

    def step(self, action: torch.Tensor) -> Step:
        """Take one step in every environment."""
        actions = to_backend_batch(self.action_space, action_array(action))
        try:
            answer = self._env.step(actions)
        except Exception as error:
            raise self._fault("step", error) from error
        self._steps += 1
        try:
            return self._stored(*_taken_apart("step", answer, 5))
        except BrokenContractError as error:
            raise self._broken("step", error) from error

    def _stored(self, raw: Any, reward: Any, terminated: Any, truncated: Any, info: dict[str, Any]) -> Step:
        """Return what the environment answered to a step, in the buffers."""
        # Copies into arrays that tensors already view are cheaper than new tensors over the backend's arrays.
        buffers = self._buffers
        self._show(raw, info)
        buffers.reward[...] = self._vector("reward", reward, "fiub")
        buffers.terminated[...] = self._vector("terminated", terminated, "b")
        buffers.truncated[...] = self._vector("truncated", truncated, "b")
        done = buffers.terminated | buffers.truncated
        step = buffers.step(bool(np.count_nonzero(done)))
        self._finish(step, done, raw, info)
        return step

    def render(self) -> np.ndarray:
        """Return a picture of the first environment."""
        pictures = self._env.render()
        if pictures is None or not isinstance(pictures[0], np.ndarray):
            raise UsageError(
                f"{self.options.id} draws no pictures with render_mode = {self.render_mode!r}",
                hint=f"its render() has to return arrays [height, width, 3]; {UNSEEN}",
                place="env.id",
            )
        return pictures[0]

    def get_state(self) -> dict[str, Any] | None:
        """Return the environment's attributes and the current observation, or None if they are not all of its state."""
        if self.resume == "none":
            return None
        buffers = self._buffers
        return {
            "environment": numpy_state.capture(self._env),
            "observation": {str(index): array.copy() for index, array in enumerate(buffers.observation.arrays)},
            "action_mask": None if buffers.action_mask is None else buffers.action_mask.copy(),
            "reset_next": np.zeros(self.num_envs, np.bool_) if self._reset_next is None else self._reset_next.copy(),
        }

    def set_state(self, state: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Put the environment's attributes back."""
        self.reset(np.zeros(self.num_envs, np.int64))
        numpy_state.restore(self._env, state["environment"])
        waiting = np.array(state["reset_next"], dtype=np.bool_)
        self._reset_next = waiting if waiting.any() else None
        for index, array in enumerate(self._buffers.observation.arrays):
            array[...] = state["observation"][str(index)]
        if self._buffers.action_mask is not None:
            self._buffers.action_mask[...] = state["action_mask"]
        return self._buffers.observation.tensors, self._buffers.info()

    def close(self) -> None:
        """Close the environment."""
        if hasattr(self, "_env"):
            self._env.close()

    def _finisher(self, mode: Any) -> Any:
        from gymnasium.vector import AutoresetMode

        finishers = {
            AutoresetMode.NEXT_STEP: self._finish_next_step,
            AutoresetMode.SAME_STEP: self._finish_same_step,
            AutoresetMode.DISABLED: self._finish_disabled,
        }
        if mode not in finishers:
            raise UsageError(
                f"{self.options.id}: its vector form does not say how it resets (metadata['autoreset_mode'])",
                hint='write vectorization = "single" under [env]',
            )
        return finishers[mode]

    def _finish_next_step(self, step: Step, done: Array, raw: Any, info: dict[str, Any]) -> None:
        del raw, info
        if self._reset_next is not None:
            np.logical_not(self._reset_next, out=self._valid)
            step.valid = self._valid_tensor
        self._reset_next = None
        if step.final_observation is not None:
            self._reset_next = done
            step.final_observation = step.observation

    def _finish_same_step(self, step: Step, done: Array, raw: Any, info: dict[str, Any]) -> None:
        del raw
        if step.final_observation is None:
            return
        given = info.get("final_obs")
        if given is None:
            raise BrokenContractError("an episode ended and info['final_obs'] is missing")
        if isinstance(given, np.ndarray) and given.dtype == np.object_:  # one object per environment
            for index in np.flatnonzero(done):
                self._buffers.final.write(int(index), given[index])
        else:
            self._buffers.final.write_batch(given, done)

    def _finish_disabled(self, step: Step, done: Array, raw: Any, info: dict[str, Any]) -> None:
        if step.final_observation is None:
            return
        self._buffers.final.write_batch(raw)
        before = None if self._buffers.action_mask is None else self._buffers.action_mask.copy()
        try:
            answer = self._env.reset(options={"reset_mask": done.copy()})
        except Exception as error:
            raise self._fault("reset", error) from error
        self._show(*_taken_apart("reset", answer, 2))
        if before is not None and self._buffers.action_mask is not None:
            self._buffers.action_mask[~done] = before[~done]

    def _show(self, raw: Any, info: dict[str, Any]) -> None:
        self._buffers.observation.write_batch(raw)
        if self._buffers.action_mask is not None:
            self._buffers.action_mask[...] = as_mask(find_mask(raw, info), self.action_space, (self.num_envs,))

    def _vector(self, name: str, values: Any, kinds: str) -> Any:
        """Return `values` [N] of a step, after checking that they are that."""
        if values.__class__ is np.ndarray and values.shape == (self.num_envs,) and values.dtype.kind in kinds:
            return values
        if np.shape(values) != (self.num_envs,):
            raise BrokenContractError(f"{name} has shape {np.shape(values)}, not ({self.num_envs},)")
        if np.asarray(values).dtype.kind not in kinds:
            raise BrokenContractError(f"{name} has dtype {np.asarray(values).dtype}")
        return values

    def _broken(self, method: str, problem: BrokenContractError) -> EnvironmentFault:
        return EnvironmentFault(
            f"{self._who()}: {problem}, in {method} (after {self._steps} steps)",
            hint=f'{BROKEN}; vectorization = "single" under [env] does without its vector form',
        )

    def _forget(self) -> None:
        self._steps = 0
        self._reset_next = None

    def _fault(self, method: str, error: Exception) -> EnvironmentFault:
        return EnvironmentFault(
            f"{self._who()} raised {type(error).__name__} in {method}: {error} (after {self._steps} steps)",
            hint=RAISED,
        )

    def _who(self) -> str:
        return f"{self.options.id} (environments 0 to {self.num_envs - 1})"


def _taken_apart(method: str, answer: Any, count: int) -> Any:
    """Return what `method` gave, after checking that it is `count` values."""
    if not isinstance(answer, tuple | list) or len(answer) != count:
        got = f"{len(answer)} values" if isinstance(answer, tuple | list) else type(answer).__name__
        raise BrokenContractError(f"{method} should return {count} values, got {got}")
    if answer[-1].__class__ is not dict and not isinstance(answer[-1], Mapping):
        raise BrokenContractError(f"info should be a dict, got {type(answer[-1]).__name__}")
    return answer


def _always(action: Any) -> bool:
    del action
    return True
