"""A Gymnasium environment's own vector form, under each of Gymnasium's autoreset modes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from rl2cli.envs import numpy_state
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.gymnasium_make import make
from rl2cli.envs.gymnasium_options import GymnasiumOptions
from rl2cli.envs.masks import as_mask, find_mask, without_mask
from rl2cli.envs.seeding import joint_seed
from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.keys import ACTION_MASK, Observation, map_observation
from rl2cli.options import Options as BaseOptions
from rl2cli.spaces import Array, action_leaves, allocate, observation_space, to_backend_batch, to_tensors


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
        self._raw_space = without_mask(native.single_observation_space)
        self.observation_space = observation_space(self._raw_space)
        self.action_space = native.single_action_space
        action_leaves(self.action_space)
        self._finish = self._finisher(native.metadata.get("autoreset_mode"))
        resets_itself = self._finish != self._finish_disabled
        exact = self.render_mode is None and resets_itself and numpy_state.is_exact(native)
        self.resume = "state" if exact else "none"
        self.has_action_mask = find_mask(*native.reset(seed=0)) is not None
        self._forget()
        # Gymnasium's own check of every action costs a fifth of CartPole's step; the policy's are in the space.
        native.action_space.contains = _always

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
            raw, info = self._env.reset(seed=None if seed is None else joint_seed(np.asarray(seed)))
        except Exception as error:
            raise self._fault("reset", error) from error
        self._forget()
        self._observation = to_tensors(self._raw_space, raw)
        self._info = self._masks(raw, info)
        return self._observation, self._info

    def step(self, action: torch.Tensor) -> Step:
        """Take one step in every environment."""
        try:
            raw, reward, terminated, truncated, info = self._env.step(
                to_backend_batch(self.action_space, action.cpu().numpy())
            )
        except Exception as error:
            raise self._fault("step", error) from error
        self._steps += 1
        terminated, truncated = _array(terminated, np.bool_), _array(truncated, np.bool_)
        step = Step(
            to_tensors(self._raw_space, raw),
            torch.from_numpy(_array(reward, np.float32)),
            torch.from_numpy(terminated),
            torch.from_numpy(truncated),
        )
        if self.has_action_mask:
            step.info = self._masks(raw, info)
        self._finish(step, terminated | truncated, info)
        self._observation, self._info = step.observation, step.info
        return step

    def render(self) -> np.ndarray:
        """Return a picture of the first environment."""
        pictures = self._env.render()
        if pictures is None or not isinstance(pictures[0], np.ndarray):
            raise UsageError(f"{self.options.id} draws no pictures with render_mode = {self.render_mode!r}")
        return pictures[0]

    def get_state(self) -> dict[str, Any] | None:
        """Return the environment's attributes and the current observation, or None if they are not all of its state."""
        if self.resume == "none":
            return None
        return {
            "environment": numpy_state.capture(self._env),
            "observation": map_observation(lambda tensor: tensor.numpy().copy(), self._observation),
            "info": {key: value.numpy().copy() for key, value in self._info.items()},
            "reset_next": np.zeros(self.num_envs, np.bool_) if self._reset_next is None else self._reset_next.copy(),
        }

    def set_state(self, state: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Put the environment's attributes back."""
        self.reset(np.zeros(self.num_envs, np.int64))
        numpy_state.restore(self._env, state["environment"])
        waiting = np.array(state["reset_next"], dtype=np.bool_)
        self._reset_next = waiting if waiting.any() else None
        self._observation = map_observation(lambda array: torch.from_numpy(np.array(array)), state["observation"])
        self._info = {key: torch.from_numpy(np.array(value)) for key, value in state["info"].items()}
        return self._observation, self._info

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

    def _finish_next_step(self, step: Step, done: Array, info: dict[str, Any]) -> None:
        del info
        if self._reset_next is not None:
            step.valid = torch.from_numpy(~self._reset_next)
        self._reset_next = None
        if np.count_nonzero(done):
            self._reset_next = done
            step.final_observation = step.observation

    def _finish_same_step(self, step: Step, done: Array, info: dict[str, Any]) -> None:
        if not np.count_nonzero(done):
            return
        given = info.get("final_obs")
        if given is None:
            raise EnvironmentFault(f"{self.options.id}: an episode ended and info['final_obs'] is missing")
        if not (isinstance(given, np.ndarray) and given.dtype == np.object_):
            step.final_observation = to_tensors(self._raw_space, given)
            return
        final = allocate(self.observation_space, (self.num_envs,))
        for index in np.flatnonzero(done):
            one = to_tensors(self._raw_space, _batch_of_one(given[index]))
            map_observation(lambda target, row, at=index: target[at].copy_(row[0]), final, one)
        step.final_observation = final

    def _finish_disabled(self, step: Step, done: Array, info: dict[str, Any]) -> None:
        del info
        if not np.count_nonzero(done):
            return
        step.final_observation = map_observation(torch.clone, step.observation)
        step.terminated, step.truncated = step.terminated.clone(), step.truncated.clone()
        raw, info = self._env.reset(options={"reset_mask": done.copy()})
        step.observation = to_tensors(self._raw_space, raw)
        if self.has_action_mask:
            mask = torch.from_numpy(done)
            fresh = self._masks(raw, info)[ACTION_MASK]
            step.info = {ACTION_MASK: torch.where(mask[:, None], fresh, step.info[ACTION_MASK])}

    def _masks(self, raw: Any, info: dict[str, Any]) -> dict[str, Any]:
        if not self.has_action_mask:
            return {}
        return {ACTION_MASK: torch.from_numpy(as_mask(find_mask(raw, info), self.action_space, (self.num_envs,)))}

    def _forget(self) -> None:
        self._steps = 0
        self._reset_next = None

    def _fault(self, method: str, error: Exception) -> EnvironmentFault:
        return EnvironmentFault(
            f"{self.options.id} (environments 0 to {self.num_envs - 1}) raised {type(error).__name__} in {method}: "
            f"{error} (after {self._steps} steps)"
        )


def _always(action: Any) -> bool:
    del action
    return True


def _array(values: Any, dtype: type) -> Array:
    array = np.asarray(values)
    return array if array.dtype == dtype and array.flags.writeable else array.astype(dtype)


def _batch_of_one(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _batch_of_one(part) for key, part in raw.items()}
    if isinstance(raw, tuple):
        return tuple(_batch_of_one(part) for part in raw)
    return np.asarray(raw)[None]
