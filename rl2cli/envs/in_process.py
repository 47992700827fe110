"""N single environments made a batch in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rl2cli.envs.advice import BROKEN, NOT_RESTORED, RAISED
from rl2cli.envs.base import BaseEnvAdapter, Step, is_stacked
from rl2cli.envs.buffers import BrokenContractError, ObservationBuffer, StepBuffers, step_layout
from rl2cli.envs.heartbeat import Numbers, new_heartbeat
from rl2cli.envs.masks import as_mask, find_mask, without_mask
from rl2cli.envs.seeding import episode_seed
from rl2cli.envs.watchdog_process import ENVIRONMENT, HEADER, METHOD, METHODS, STEP, STEPS, TICKS
from rl2cli.errors import EnvironmentFault, RL2Error
from rl2cli.keys import Observation
from rl2cli.options import Options as BaseOptions
from rl2cli.spaces import (
    Array,
    action_array,
    action_dtype,
    action_leaves,
    action_shape,
    mask_width,
    observation_space,
    to_backend_rows,
)
from rl2cli.text import shortened

_NUMBERS = frozenset((float, int, np.float64, np.float32))
"""Types of most rewards; others are looked at more closely."""
_TRIM = 1024
"""Logged steps after which those of finished episodes are dropped, at first."""


class InProcessBatch(BaseEnvAdapter):
    """Steps N single adapters in turn; resets each in the step that ended its episode, with the episode's own seed.

    The tensors it returns are views of its buffers and hold until the next step.

    Args:
        adapter: The single adapter's class.
        options: Its options.
        num_envs: N.
        device: Given to the single adapters; the batch itself is on the CPU.
        render_mode: Given to the first environment only, the one `render` draws.
        first_index: Number of the first environment in messages.
    """

    vectorised = True

    def __init__(
        self,
        adapter: type[BaseEnvAdapter],
        options: BaseOptions,
        *,
        num_envs: int = 1,
        device: torch.device | str = "cpu",
        render_mode: str | None = None,
        first_index: int = 0,
    ) -> None:
        super().__init__(options, num_envs=num_envs, device=device, render_mode=render_mode)
        modes = [render_mode, *[None] * (num_envs - 1)]
        self._envs = [adapter(options, num_envs=1, device=device, render_mode=mode) for mode in modes]
        self._first_index = first_index
        self._beat = new_heartbeat(num_envs, first_index)
        self._base_seeds = [0] * num_envs
        self._episodes = [0] * num_envs
        self._began = [0] * num_envs  # number of the step that was each episode's first
        self._log: list[Array] = []  # actions [N, *act] of steps self._dropped, self._dropped + 1, ...
        self._dropped = 0
        self._trim_at = _TRIM
        self._last_picture: Array | None = None  # of the first environment, where its episode has just ended

    def setup(self) -> None:
        """Set up every environment and declare their common spaces."""
        for index, env in enumerate(self._envs):
            self._beat[ENVIRONMENT] = self._first_index + index
            env.setup()
        first = self._envs[0]
        self._raw_space = without_mask(first.observation_space)
        self.observation_space = observation_space(self._raw_space)
        self.action_space = first.action_space
        action_leaves(self.action_space)
        self.resume, self.frame_skip, self.render_fps = first.resume, first.frame_skip, first.render_fps
        self.frame_stack = first.frame_stack if is_stacked(self.observation_space, first.frame_stack) else 1
        self.device = torch.device("cpu")
        raw, info = self._call(0, "reset", 0)
        self.has_action_mask = find_mask(raw, info) is not None
        layout = step_layout(self._raw_space, self.num_envs, self.mask_width)
        self.attach({name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.items()})

    @property
    def mask_width(self) -> int:
        """Width of an action mask; 0 where the environment has none."""
        return mask_width(self.action_space) if self.has_action_mask else 0

    @property
    def raw_space(self) -> Any:
        """Space of an observation as the environments give it, without its mask."""
        return self._raw_space

    def attach_heartbeat(self, numbers: Numbers) -> None:
        """Write what it does into `numbers`, a heartbeat of as many environments, from now on."""
        numbers[ENVIRONMENT:] = self._beat[ENVIRONMENT:]
        self._beat = numbers

    def attach(self, arrays: dict[str, Array]) -> None:
        """Write into `arrays`, named and shaped as `step_layout` says, from now on."""
        self._buffers = StepBuffers(self._raw_space, arrays)

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes, of all environments or of those in `mask`."""
        seeds = np.arange(self.num_envs) if seed is None else seed
        self._last_picture = None
        for index in range(self.num_envs):
            if mask is None or mask[index]:
                self._base_seeds[index] = int(seeds[index])
                self._begin(index, 0)
        return self._buffers.observation.tensors, self._buffers.info()

    def step(self, action: torch.Tensor) -> Step:
        """Take one step in every environment."""
        actions = np.array(action_array(action))  # a copy: it is logged
        ended, self._last_picture = False, None
        for index, row in enumerate(to_backend_rows(self.action_space, actions)):
            ended |= self._step(index, row)
        self._log.append(actions)
        self._beat[STEPS] = self._dropped + len(self._log)
        if len(self._log) >= self._trim_at:
            self._trim()
        return self._buffers.step(ended)

    def render(self) -> np.ndarray:
        """Return a picture of the first environment; right after its episode ended, that episode's last one.

        Raises:
            EnvironmentFault: Drawing raised something.
        """
        return self._draw() if self._last_picture is None else self._last_picture

    def get_state(self) -> dict[str, Any] | None:
        """Return what restores the running episodes, arrays over environments.

        `episode_seed`: base seeds, episode numbers, the policy's actions since each episode began (end to end, with
        their lengths) and a hash of each current observation. `state`: the environments' own states.
        """
        if self.resume == "none":
            return None
        state: dict[str, Any] = {
            "base_seed": np.array(self._base_seeds, dtype=np.int64),
            "episode": np.array(self._episodes, dtype=np.int64),
            "hash": self._buffers.observation.hashes(),
        }
        if self.resume == "state":
            return {**state, "environments": {str(index): env.get_state() for index, env in enumerate(self._envs)}}
        logs = [self._actions_of(index) for index in range(self.num_envs)]
        none = torch.zeros(0, *action_shape(self.action_space), dtype=action_dtype(self.action_space)).numpy()
        return {
            **state,
            "length": np.array([len(log) for log in logs], dtype=np.int64),
            "actions": np.concatenate([none, *(np.stack(log) for log in logs if log)]),  # [sum of lengths, *act]
        }

    def set_state(self, state: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Bring every environment to where `get_state` found it."""
        self._base_seeds = [int(seed) for seed in state["base_seed"]]
        self._log, self._dropped, self._began = [], 0, [0] * self.num_envs
        if self.resume == "state":
            for index in range(self.num_envs):
                self._episodes[index] = int(state["episode"][index])
                self._show(index, "set_state", *self._call(index, "set_state", state["environments"][str(index)]))
        else:
            self._replay(state)
        for index in range(self.num_envs):
            if not np.array_equal(self._buffers.observation.hash(index), state["hash"][index]):
                raise EnvironmentFault(
                    f"{self._who(index)} was not restored exactly: its observation differs from the saved one",
                    hint=NOT_RESTORED,
                )
        return self._buffers.observation.tensors, self._buffers.info()

    def close(self) -> None:
        """Close every environment."""
        for env in self._envs:
            env.close()

    def _step(self, index: int, action: Any) -> bool:
        env = self._envs[index]
        self._beat[ENVIRONMENT] = self._first_index + index
        try:
            answer = env.step(env.get_action(action))
        except Exception as error:
            raise self._fault(index, "step", error) from error
        raw, reward, terminated, truncated, info = self._taken_apart(index, "step", answer, 5)
        raw = self._translated(index, "step", raw)
        if terminated.__class__ is not bool or truncated.__class__ is not bool or reward.__class__ not in _NUMBERS:
            self._check(index, reward, (terminated, truncated))
        buffers = self._buffers
        buffers.reward[index] = reward
        buffers.terminated[index] = terminated
        buffers.truncated[index] = truncated
        if terminated or truncated:
            self._write(buffers.final, index, "step", raw)
            if index == 0 and self.render_mode == "rgb_array":
                self._last_picture = np.array(self._draw())
            self._began[index] = self._dropped + len(self._log) + 1
            self._begin(index, self._episodes[index] + 1)
            return True
        self._show(index, "step", raw, info)
        return False

    def _draw(self) -> Array:
        try:
            return self._envs[0].render()
        except RL2Error:
            raise
        except Exception as error:
            raise EnvironmentFault(
                f"drawing {self._who(0)} raised {type(error).__name__}: {error}",
                hint="where there is no display, SDL_VIDEODRIVER=dummy, and MUJOCO_GL=egl or osmesa, let most "
                "environments draw",
            ) from error

    def _begin(self, index: int, episode: int) -> None:
        if episode == 0:
            self._began[index] = self._dropped + len(self._log)
        self._episodes[index] = episode
        seed = episode_seed(self._base_seeds[index], episode)
        self._beat[HEADER + index], self._beat[HEADER + self.num_envs + index] = self._began[index], seed
        raw, info = self._call(index, "reset", seed)
        self._show(index, "reset", raw, info)

    def _show(self, index: int, method: str, raw: Any, info: dict[str, Any]) -> None:
        self._write(self._buffers.observation, index, method, raw)
        if self._buffers.action_mask is not None:
            try:
                self._buffers.action_mask[index] = as_mask(find_mask(raw, info), self.action_space, ())
            except BrokenContractError as error:
                raise self._broken(index, method, error) from error

    def _write(self, into: ObservationBuffer, index: int, method: str, raw: Any) -> None:
        """Copy an observation into row `index`."""
        try:
            into.write(index, raw)
        except BrokenContractError as error:
            raise self._broken(index, method, error) from error

    def _call(self, index: int, method: str, argument: Any) -> tuple[Any, dict[str, Any]]:
        """Return the observation and info of a backend's `method`."""
        beat, before = self._beat, self._beat[METHOD]
        beat[METHOD], beat[ENVIRONMENT] = METHODS.index(method), self._first_index + index
        try:
            answer = getattr(self._envs[index], method)(argument)
        except Exception as error:
            raise self._fault(index, method, error) from error
        raw, info = self._taken_apart(index, method, answer, 2)
        if not isinstance(info, Mapping):
            raise self._broken(index, method, BrokenContractError(f"info should be a dict, got {_brief(info)}"))
        beat[METHOD] = before
        return self._translated(index, method, raw), dict(info)

    def _translated(self, index: int, method: str, raw: Any) -> Any:
        try:
            return self._envs[index].get_observation(raw)
        except Exception as error:
            raise self._fault(index, method, error) from error

    def _taken_apart(self, index: int, method: str, answer: Any, count: int) -> Any:
        """Return what `method` gave, after checking that it is `count` values."""
        if answer.__class__ is tuple and len(answer) == count:
            return answer
        values = f"{len(answer)} values" if isinstance(answer, tuple | list) else _brief(answer)
        names = "observation, reward, terminated, truncated, info" if count == 5 else "observation, info"
        if isinstance(answer, list) and len(answer) == count:
            return tuple(answer)
        raise self._broken(index, method, BrokenContractError(f"{method} should return {names}, got {values}"))

    def _replay(self, state: dict[str, Any]) -> None:
        lengths, logged = np.asarray(state["length"]), np.asarray(state["actions"])
        longest = int(lengths.max())
        log = np.zeros((longest, self.num_envs, *logged.shape[1:]), logged.dtype)  # [longest, N, *act]
        for index, actions in enumerate(np.split(logged, np.cumsum(lengths)[:-1])):
            self._begin(index, int(state["episode"][index]))
            self._began[index] = longest - len(actions)
            log[self._began[index] :, index] = actions
            self._beat[METHOD] = STEP
            for action in to_backend_rows(self.action_space, actions):
                self._beat[TICKS] += 1
                if self._step(index, action):
                    raise EnvironmentFault(
                        f"{self._who(index)} ended its episode early when it was replayed", hint=NOT_RESTORED
                    )
        self._log = list(log)
        for index in range(self.num_envs):
            self._beat[HEADER + index] = self._began[index]
        self._beat[STEPS] = longest

    def _actions_of(self, index: int) -> list[Array]:
        return [actions[index] for actions in self._log[self._began[index] - self._dropped :]]

    def _trim(self) -> None:
        unused = min(self._began) - self._dropped
        del self._log[:unused]
        self._dropped += unused
        self._trim_at = 2 * len(self._log) + _TRIM

    def _check(self, index: int, reward: Any, flags: tuple[Any, Any]) -> None:
        if np.shape(reward) != () or np.asarray(reward).dtype.kind not in "fiub":
            raise self._broken(index, "step", BrokenContractError(f"reward should be a number, got {_brief(reward)}"))
        for name, flag in zip(("terminated", "truncated"), flags, strict=True):
            if not isinstance(flag, bool | np.bool_):
                raise self._broken(index, "step", BrokenContractError(f"{name} should be a bool, got {_brief(flag)}"))

    def _who(self, index: int) -> str:
        return f"environment {index + self._first_index}"

    def _fault(self, index: int, method: str, error: Exception) -> RL2Error:
        if isinstance(error, RL2Error):
            return error
        return EnvironmentFault(
            f"{self._who(index)} raised {type(error).__name__} in {method}: {error} ({self._when(index)})",
            hint=RAISED,
        )

    def _broken(self, index: int, method: str, problem: BrokenContractError) -> EnvironmentFault:
        message = f"{self._who(index)}: {problem}, in {method} ({self._when(index)})"
        return EnvironmentFault(message, hint=BROKEN)

    def _when(self, index: int) -> str:
        seed = episode_seed(self._base_seeds[index], self._episodes[index])
        steps = max(0, self._dropped + len(self._log) - self._began[index])
        return f"episode seed {seed}, after {steps} steps of the episode"


def _brief(value: Any) -> str:
    try:
        return shortened(" ".join(repr(value).split()), 80)
    except Exception:  # of the environment's own `__repr__`
        return type(value).__name__


def join_states(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the state of a whole batch from those of its slices, in order."""
    whole = {key: np.concatenate([state[key] for state in states]) for key in states[0] if key != "environments"}
    if "environments" not in states[0]:
        return whole
    environments = [own for state in states for own in state["environments"].values()]
    return {**whole, "environments": {str(index): own for index, own in enumerate(environments)}}


def split_state(state: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    """Return the state of environments `start` to `stop - 1` out of a whole batch's."""
    part = {key: state[key][start:stop] for key in ("base_seed", "episode", "hash")}
    if "environments" in state:
        own = {str(index - start): state["environments"][str(index)] for index in range(start, stop)}
        return {**part, "environments": own}
    edges = np.cumsum([0, *state["length"]])
    return {**part, "length": state["length"][start:stop], "actions": state["actions"][edges[start] : edges[stop]]}
