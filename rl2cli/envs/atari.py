"""Atari games `ALE/*-v5` through ale_py's vector environment: emulation and preprocessing in C++ threads."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.cores import available_cores
from rl2cli.envs.advice import RAISED
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.buffers import allocate_buffers
from rl2cli.envs.gymnasium_make import find_spec, missing_package, missing_rom, quiet
from rl2cli.envs.gymnasium_options import AtariOptions, GymnasiumOptions
from rl2cli.envs.seeding import episode_seed
from rl2cli.errors import EnvironmentFault
from rl2cli.keys import Observation
from rl2cli.options import Options as BaseOptions
from rl2cli.spaces import Array, action_array

MOST_FRAMES = 108_000
"""Emulator frames of the longest episode: half an hour of play, as in Gymnasium's v5 environments."""
SERIES_STEPS = 5_000
"""Steps of a game after which its next episode begins with a new seed.

To seed a game ale_py loads it anew, which takes as long as hundreds of steps. So several episodes follow from one seed;
to restore a running one, all since the seed are played again, thousands of steps a second.
"""
_TRIM = 4096
"""Logged steps after which those of finished series are dropped, at first."""


class AtariAdapter(BaseEnvAdapter):
    """N games that are stepped together; each has seeds of its own, so running episodes can be played again.

    Frames are skipped in the emulator and nowhere else. Rewards are the game's own score.
    """

    Options: ClassVar[type[BaseOptions]] = GymnasiumOptions
    options: GymnasiumOptions
    vectorised = True
    resume = "episode_seed"
    steps_elsewhere = True

    def setup(self) -> None:
        """Start the emulators."""
        options, atari = self.options, self.options.atari
        assert atari is not None
        game = find_spec(options.id).kwargs["game"]
        height, width = options.image_size or (210, 160)
        self.device = torch.device("cpu")
        try:
            with quiet():
                from ale_py.vector_env import AtariVectorEnv

                self._env = AtariVectorEnv(
                    game,
                    self.num_envs,
                    num_threads=min(self.num_envs, available_cores()),
                    autoreset_mode="NextStep",  # which never comes to it: ended games are reset at once, with a seed
                    max_num_frames_per_episode=_most_frames(options, atari),
                    repeat_action_probability=atari.repeat_action_probability,
                    full_action_space=atari.full_action_space,
                    img_height=height,
                    img_width=width,
                    grayscale=options.grayscale,
                    stack_num=options.frame_stack,
                    frameskip=atari.frame_skip,
                    maxpool=atari.max_pool,
                    noop_max=atari.noop_max,
                    use_fire_reset=atari.fire_reset,
                    reward_clipping=False,
                )
        except ImportError as problem:
            raise missing_package(options.id, problem) from problem
        except OSError as problem:
            raise missing_rom(options.id, problem) from problem
        self._takes_lives = atari.terminal_on_life_loss
        self.observation_space = spaces.Box(0, 255, self._env.single_observation_space.shape, np.uint8)
        self.action_space = spaces.Discrete(len(self._env.ale.get_action_set()))
        self.frame_skip, self.frame_stack = atari.frame_skip, options.frame_stack
        self._buffers = allocate_buffers(self.observation_space, self.num_envs, 0)
        self._lives = np.zeros(self.num_envs, np.int64)
        self._base_seeds = np.zeros(self.num_envs, np.int64)
        self._series = np.zeros(self.num_envs, np.int64)  # how often each game has been seeded since its reset
        self._began = np.zeros(self.num_envs, np.int64)  # number of the first step after that
        self._log: list[Array] = []  # actions [N] of steps self._dropped, self._dropped + 1, ...
        self._dropped = 0
        self._trim_at = _TRIM

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes, of all games or of those in `mask`."""
        chosen = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask, np.bool_)
        seeds = np.arange(self.num_envs) if seed is None else np.asarray(seed)
        self._base_seeds[chosen] = seeds[chosen]
        self._series[chosen] = 0
        self._begin(chosen, seeded=chosen)
        return self._buffers.observation.tensors, {}

    def step(self, action: torch.Tensor) -> Step:
        """Take one step of `frame_skip` emulator frames in every game."""
        actions = action_array(action).astype(np.uint8)  # a copy: it is logged
        lives = self._lives.copy()
        self._advance(actions)
        self._log.append(actions)
        buffers = self._buffers
        done = buffers.terminated | buffers.truncated
        ended = bool(np.count_nonzero(done))
        step = buffers.step(ended)
        if self._takes_lives:
            step.life_lost = torch.from_numpy((self._lives < lives) & ~done)
        if ended:
            buffers.final.write_batch(buffers.observation.arrays[0])
            new_series = done & (self._dropped + len(self._log) - self._began >= SERIES_STEPS)
            self._series[new_series] += 1
            self._begin(done, seeded=new_series)
        if len(self._log) >= self._trim_at:
            self._trim()
        return step

    def get_state(self) -> dict[str, Any] | None:
        """Return what restores the running episodes: seeds, all actions since them, a hash of each observation."""
        log = np.array(self._log, np.uint8).reshape(-1, self.num_envs)
        began = self._began - self._dropped
        return {
            "base_seed": self._base_seeds.copy(),
            "series": self._series.copy(),
            "hash": self._buffers.observation.hashes(),
            "length": len(log) - began,
            "actions": np.concatenate([log[start:, index] for index, start in enumerate(began)]),
        }

    def set_state(self, state: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Play everything since the last seeds again, side by side, each from such a step that all arrive together."""
        self._base_seeds[...], self._series[...] = state["base_seed"], state["series"]
        lengths: Array = np.asarray(state["length"])
        longest = int(lengths.max())
        log = np.zeros((longest, self.num_envs), np.uint8)
        for index, actions in enumerate(np.split(np.asarray(state["actions"]), np.cumsum(lengths)[:-1])):
            log[longest - len(actions) :, index] = actions
        none = np.zeros(self.num_envs, np.bool_)
        self._begin(~none, seeded=~none)
        for t, actions in enumerate(log):
            starts = lengths == longest - t
            if t:
                self._begin(starts, seeded=starts)
            self._advance(actions)
            ended = (self._buffers.terminated | self._buffers.truncated) & (lengths >= longest - t)
            self._begin(ended, seeded=none)
        if longest:
            self._begin(lengths == 0, seeded=lengths == 0)
        self._log, self._dropped, self._began = list(log), 0, longest - lengths
        different = (self._buffers.observation.hashes() != state["hash"]).any(1)
        if different.any():
            who = int(different.argmax())
            raise EnvironmentFault(
                f"environment {who} was not restored exactly: its observation differs from the saved one",
                hint="the version of ale-py or the game differs from the saved run's",
            )
        return self._buffers.observation.tensors, {}

    def close(self) -> None:
        """Stop the emulators' threads."""
        if hasattr(self, "_env"):
            del self._env

    def _begin(self, chosen: Array, seeded: Array) -> None:
        """Start the next episode of the games in `chosen` [N] bool, those in `seeded` with a seed."""
        if not chosen.any():
            return
        seeds: Array = np.full(self.num_envs, -1, np.int64)  # which ale_py takes as none
        for index in np.flatnonzero(seeded):
            seeds[index] = episode_seed(int(self._base_seeds[index]), int(self._series[index]))
        try:
            observation, info = self._env.reset(seed=seeds[chosen], options={"reset_mask": chosen})
            self._buffers.observation.write_batch(observation)
        except Exception as error:
            raise self._fault("reset", error) from error
        self._lives[...] = info["lives"]
        self._began[seeded] = self._dropped + len(self._log)

    def _advance(self, actions: Array) -> None:
        """Take one step in every game; the buffers and lives show what came of it."""
        try:
            observation, reward, terminated, truncated, info = self._env.step(actions.astype(np.int32))
            self._buffers.observation.write_batch(observation)
        except Exception as error:
            raise self._fault("step", error) from error
        buffers = self._buffers
        buffers.reward[...] = reward
        buffers.terminated[...] = terminated
        buffers.truncated[...] = truncated
        self._lives[...] = info["lives"]

    def _trim(self) -> None:
        unused = int(self._began.min()) - self._dropped
        del self._log[:unused]
        self._dropped += unused
        self._trim_at = 2 * len(self._log) + _TRIM

    def _fault(self, method: str, error: Exception) -> EnvironmentFault:
        return EnvironmentFault(
            f"{self.options.id} (environments 0 to {self.num_envs - 1}) raised {type(error).__name__} in {method}: "
            f"{error}",
            hint=RAISED,
        )


def _most_frames(options: GymnasiumOptions, atari: AtariOptions) -> int:
    """Return the emulator frames after which an episode is truncated."""
    if options.max_episode_steps is None:
        return MOST_FRAMES
    return options.max_episode_steps * atari.frame_skip
