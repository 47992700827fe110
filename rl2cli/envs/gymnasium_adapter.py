"""Any environment registered with Gymnasium, one object per environment."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from rl2cli.envs.advice import UNSEEN
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.gymnasium_make import find_spec, make, metadata_of, missing_package
from rl2cli.envs.gymnasium_options import AtariOptions, GymnasiumOptions
from rl2cli.envs.rendering import pictures_per_second, prepare_drawing, require_mode
from rl2cli.errors import UsageError
from rl2cli.options import Options as BaseOptions

EMULATOR_RATE = 60.0
"""Frames of an Atari emulator in a second."""


class GymnasiumAdapter(BaseEnvAdapter):
    """One Gymnasium environment; `select` prefers the environment's own vector form where it has one."""

    Options: ClassVar[type[BaseOptions]] = GymnasiumOptions
    options: GymnasiumOptions
    resume = "episode_seed"

    @classmethod
    def select(cls, options: BaseOptions, num_envs: int) -> type[BaseEnvAdapter]:
        """Return the native vector adapter where the id has a vector form that these options allow.

        Raises:
            UsageError: `vectorization = "native"`, and there is no such form.
        """
        del num_envs
        if not isinstance(options, GymnasiumOptions):
            return cls
        obstacle = "it was not asked for" if options.vectorization == "single" else _native_obstacle(options)
        if obstacle is None:
            return _native_class(options)
        if options.vectorization == "native":
            raise UsageError(
                f"{options.id} cannot be native: {obstacle}",
                hint='vectorization = "auto" takes single environments where there is no native form',
                place="env.vectorization",
            )
        if options.atari is not None and options.atari.terminal_on_life_loss:
            raise UsageError(
                f"terminal_on_life_loss needs the game's vector form: {obstacle}",
                hint='leave it out; or leave out kwargs, and vectorization = "single"',
                place="env.atari.terminal_on_life_loss",
            )
        return cls

    @classmethod
    def select_drawing(cls, options: BaseOptions) -> type[BaseEnvAdapter]:
        """Return this class, but for an id that has a vector form only."""
        if not isinstance(options, GymnasiumOptions) or find_spec(options.id).entry_point is not None:
            return cls
        return _native_class(options)

    def setup(self) -> None:
        """Make the environment, with the time limit and frame stack that the options name."""
        import gymnasium
        from gymnasium.wrappers import FrameStackObservation, TimeLimit

        from rl2cli.envs.atari_single import AtariGame
        from rl2cli.envs.images import ImageObservation

        self.device = torch.device("cpu")
        options, size = self.options, _pair(self.options.image_size)
        drawing = self._drawing()
        emulator = {} if options.atari is None else _emulator(options, options.atari)
        self.env = make(options, gymnasium.make, disable_env_checker=True, **drawing, **emulator)
        self.render_fps = pictures_per_second(self.env.metadata)
        if options.atari is not None:
            self.env = AtariGame(self.env, options.atari, size)
            if options.max_episode_steps is not None:
                self.env = TimeLimit(self.env, options.max_episode_steps)
            self.frame_skip = options.atari.frame_skip
            self.render_fps = EMULATOR_RATE / options.atari.frame_skip
        elif size is not None or options.grayscale:
            self.env = ImageObservation(self.env, size, options.grayscale)
        if options.frame_stack > 1:
            self.env = FrameStackObservation(self.env, options.frame_stack)
        world = getattr(self.env.unwrapped, "world", None)
        self._has_box2d_world = type(world).__module__.startswith("Box2D") and hasattr(self.env.unwrapped, "_destroy")
        self.frame_stack = _stacked(self.env)
        self.observation_space = self.env.observation_space
        self.action_space = self.env.action_space

    def reset(self, seed: int | None = None, mask: np.ndarray | None = None) -> tuple[Any, dict[str, Any]]:
        """Start a new episode."""
        del mask
        if self._has_box2d_world:
            _renew_world(self.env.unwrapped)
        result: tuple[Any, dict[str, Any]] = self.env.reset(seed=seed)
        return result

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step."""
        result: tuple[Any, float, bool, bool, dict[str, Any]] = self.env.step(action)
        return result

    def render(self) -> np.ndarray:
        """Return a picture, [height, width, 3] uint8."""
        from gymnasium.error import DependencyNotInstalled

        try:
            picture = self.env.render()
        except (DependencyNotInstalled, ImportError) as problem:
            raise missing_package(self.options.id, problem) from problem
        if not isinstance(picture, np.ndarray):
            raise UsageError(
                f"{self.options.id} draws no pictures with render_mode = {self.render_mode!r}",
                hint=f"its render() has to return an array [height, width, 3]; {UNSEEN}",
                place="env.id",
            )
        return picture

    def close(self) -> None:
        """Close the environment."""
        if hasattr(self, "env"):
            self.env.close()

    def _drawing(self) -> dict[str, Any]:
        """Return the keyword arguments with which the environment draws, after checking that it can."""
        if self.render_mode is None:
            return {}
        prepare_drawing()
        metadata = metadata_of(self.options.id)
        if isinstance(metadata, Mapping) and "render_modes" in metadata:
            require_mode(self.options.id, metadata, self.render_mode)
        return {"render_mode": self.render_mode}


def _stacked(env: Any) -> int:
    """Return how many observations Gymnasium's own wrapper stacks, where no wrapper around it changes them again."""
    from gymnasium import wrappers

    while isinstance(env, (wrappers.OrderEnforcing, wrappers.RecordEpisodeStatistics, wrappers.TimeLimit)):
        env = env.env
    return env.stack_size if isinstance(env, wrappers.FrameStackObservation) else 1


def _renew_world(env: Any) -> None:
    """Give a Box2D environment a world without a past: a used one's contacts change the next episode's last bits."""
    env._destroy()
    env.world = type(env.world)(gravity=env.world.gravity)


def _pair(size: list[int] | None) -> tuple[int, int] | None:
    return None if size is None else (size[0], size[1])


def _emulator(options: GymnasiumOptions, atari: AtariOptions) -> dict[str, Any]:
    """Return the keyword arguments of a game that emulates one frame per step; `AtariGame` skips frames."""
    return {
        "max_episode_steps": None,  # which would count frames of the emulator
        "frameskip": 1,
        "repeat_action_probability": atari.repeat_action_probability,
        "full_action_space": atari.full_action_space,
        "obs_type": "grayscale" if options.grayscale else "rgb",
    }


def _native_class(options: GymnasiumOptions) -> type[BaseEnvAdapter]:
    if options.atari is not None:
        from rl2cli.envs.atari import AtariAdapter

        return AtariAdapter
    from rl2cli.envs.gymnasium_vector import GymnasiumVectorAdapter

    return GymnasiumVectorAdapter


def _native_obstacle(options: GymnasiumOptions) -> str | None:
    """Return why these options have no native vector form, or None where they have one."""
    spec = find_spec(options.id)
    if spec.vector_entry_point is None:
        return "Gymnasium has no vector form of it"
    if options.atari is not None:
        return "kwargs are for single games" if options.kwargs else None
    if options.frame_stack > 1:
        return "frame_stack needs one object per environment"
    if options.image_size is not None or options.grayscale:
        return "images are resized and turned gray one by one"
    if spec.additional_wrappers:
        return "it is registered with wrappers"
    needs_jax = isinstance(spec.vector_entry_point, str) and "jax" in spec.vector_entry_point.lower()
    if needs_jax and importlib.util.find_spec("jax") is None:
        return "its vector form needs jax"
    return None
