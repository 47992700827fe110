"""Returns and lengths of episodes, from raw rewards, always."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

WINDOW = 100
"""Episodes that the shown means are taken over."""


class Episode(NamedTuple):
    """A finished episode."""

    episode_return: float
    length: int


class EpisodeStatistics:
    """Follows the running episode of each environment over rollouts."""

    def __init__(self, num_envs: int) -> None:
        self.running_return = np.zeros(num_envs)
        self.running_length = np.zeros(num_envs, np.int64)
        self.count = 0
        self.best_return: float | None = None
        self.recent: deque[Episode] = deque(maxlen=WINDOW)

    def update(
        self,
        reward: np.ndarray,
        ended: Sequence[tuple[int, int]],
        valid: np.ndarray | None = None,
        broken_off: Sequence[int] = (),
    ) -> list[Episode]:
        """Take in a rollout and return the episodes that ended in it.

        Args:
            reward: [T, N] float32.
            ended: The (t, n) of each row that ended an episode, in order of time.
            valid: [T, N] bool, False where a row was no frame; None where all are.
            broken_off: Environments whose episodes had ended with the rollout before.
        """
        finished = self._broken_off(broken_off) if broken_off else []
        if valid is None and not ended:  # most of the rollouts of one step
            self.running_return += reward.cumsum(0, np.float64)[-1]
            self.running_length += len(reward)
            return []
        earned = reward if valid is None else np.where(valid, reward, 0.0)
        counted = np.ones(reward.shape, np.int64) if valid is None else valid
        returns, lengths = earned.cumsum(0, np.float64), counted.cumsum(0, np.int64)  # [T, N]
        for t, n in ended:
            finished.append(
                Episode(float(self.running_return[n] + returns[t, n]), int(self.running_length[n] + lengths[t, n]))
            )
            self.running_return[n], self.running_length[n] = -returns[t, n], -lengths[t, n]
        self.running_return += returns[-1]
        self.running_length += lengths[-1]
        self._record(finished)
        return finished

    def _broken_off(self, environments: Sequence[int]) -> list[Episode]:
        """Return the running episodes of `environments`, which begin new ones."""
        begun = [n for n in environments if self.running_length[n]]
        finished = [Episode(float(self.running_return[n]), int(self.running_length[n])) for n in begun]
        self.running_return[begun], self.running_length[begun] = 0.0, 0
        return finished

    def means(self) -> tuple[float | None, float | None]:
        """Return mean return and mean length of the last episodes, or None before the first."""
        if not self.recent:
            return None, None
        mean = np.mean(self.recent, axis=0)
        return float(mean[0]), float(mean[1])

    def get_state(self) -> dict[str, Any]:
        """Return everything, as arrays and numbers."""
        return {
            "running_return": self.running_return,
            "running_length": self.running_length,
            "count": self.count,
            "best_return": self.best_return,
            "recent": [[episode.episode_return, episode.length] for episode in self.recent],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back `get_state`."""
        self.running_return = state["running_return"].copy()
        self.running_length = state["running_length"].copy()
        self.count = state["count"]
        self.best_return = state["best_return"]
        self.recent = deque((Episode(*pair) for pair in state["recent"]), maxlen=WINDOW)

    def forget_running(self) -> None:
        """Drop the running episodes: their environments could not be restored."""
        self.running_return[:] = 0.0
        self.running_length[:] = 0

    def _record(self, finished: list[Episode]) -> None:
        self.count += len(finished)
        self.recent.extend(finished)
        if finished:
            best = max(episode.episode_return for episode in finished)
            self.best_return = best if self.best_return is None else max(best, self.best_return)
