"""One Atari game as one Gymnasium environment, preprocessed as ale_py's vector environment does it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rl2cli.envs.gymnasium_options import AtariOptions
from rl2cli.envs.images import AreaResize
from rl2cli.spaces import Array


class AtariGame(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Skips frames, pools the last two, resizes; no-ops and fire at the beginning.

    Args:
        env: A game that emulates one frame per step and observes the screen, [210, 160] or [210, 160, 3] uint8.
        options: How it is played.
        size: Height and width of an observation; None keeps the screen's.
    """

    def __init__(self, env: Any, options: AtariOptions, size: tuple[int, int] | None) -> None:
        super().__init__(env)
        self._options = options
        screen = env.observation_space.shape
        self._resize = None if size is None else AreaResize(screen[:2], size)
        shape = (*(size or screen[:2]), *screen[2:])
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        meanings = env.unwrapped.get_action_meanings()
        self._fire = meanings.index("FIRE") if options.fire_reset and "FIRE" in meanings else None

    def reset(self, **arguments: Any) -> tuple[Array, dict[str, Any]]:
        """Start an episode: fire, then up to `noop_max` frames without an action."""
        screen, info = self.env.reset(**arguments)
        presses = [] if self._fire is None else [self._fire]
        idle = int(self.np_random.integers(self._options.noop_max)) if self._options.noop_max else 0
        for action in [*presses, *[0] * (idle - len(presses))]:
            screen, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                screen, info = self.env.reset()
        return self._observation(screen), info

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Play `frame_skip` frames, fewer where the game ends."""
        screens: list[Array] = []
        total, terminated, truncated, info = 0.0, False, False, dict[str, Any]()
        for _ in range(self._options.frame_skip):
            screen, reward, terminated, truncated, info = self.env.step(action)
            screens = [*screens[-1:], screen]
            total += float(reward)
            if terminated or truncated:
                break
        pooled = np.maximum(*screens) if self._options.max_pool and len(screens) == 2 else screens[-1]
        return self._observation(pooled), total, terminated, truncated, info

    def _observation(self, screen: Array) -> Array:
        if self._resize is None:
            return screen
        return np.rint(self._resize(screen.astype(np.float32))).astype(np.uint8)
