"""Films the policy while it trains: in an environment made for each clip, so nothing is kept or paid between them.

Only where the backend needs a process of its own for it, which takes long to start, is that kept.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.envs import make_env_adapter
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.rendering import PICTURES
from rl2cli.errors import RL2Error
from rl2cli.reporting.picture import Scene
from rl2cli.reporting.video import VideoWriter
from rl2cli.spec.model import RunSpec, VideoSpec
from rl2cli.training.footage import DEFAULT_FPS, Take, film
from rl2cli.training.journal import Journal
from rl2cli.training.seeding import environment_seeds
from rl2cli.training.signals import StopRequest

Warn = Callable[[str], None]


class Filming:
    """Films one deterministic episode at the frames that `[video]` names; what goes wrong never reaches the run.

    Every clip of a run begins with the same seed, so that they can be compared.

    Args:
        options: When, and how long.
        first_total: The run's first total of frames, which `at` are fractions of.
        make_env: Makes one environment that draws.
        folder: Where the videos go.
        seed: The run's seed.
        journal: Records what was filmed.
        warn: Tells the user what went wrong.
        keep_env: Whether one environment serves all clips.
    """

    def __init__(
        self,
        options: VideoSpec,
        first_total: int,
        make_env: Callable[[], BaseEnvAdapter],
        folder: Path,
        seed: int,
        journal: Journal,
        warn: Warn,
        *,
        keep_env: bool = False,
    ) -> None:
        self._options = options
        self._points = sorted(round(fraction * first_total) for fraction in options.at or [])
        self._end = first_total if 1.0 in (options.at or []) else None
        self._make_env, self._folder, self._seed = make_env, folder, seed
        self._journal, self._warn = journal, warn
        self._keep_env = keep_env
        self._kept_env: BaseEnvAdapter | None = None
        self._is_on = True
        self.filmed_up_to = -1
        """Frames up to which everything that was due has been filmed; a checkpoint keeps it."""
        self.seconds = 0.0
        """Spent on filming."""

    def film_if_due(self, algorithm: BaseAlgorithm, frames: int, stop: StopRequest, *, at_end: bool) -> None:
        """Film the policy as it is at `frames` where that is due; any failure is one warning, and the end of filming.

        Args:
            algorithm: Acts; nothing of it changes.
            frames: Trained so far.
            stop: A signal cuts the clip short, and it is left out.
            at_end: The run ends here, maybe before its total.
        """
        if not self._is_on or stop.signal_number is not None or not self._is_due(frames, at_end):
            return
        before = time.perf_counter()
        try:
            if self._film(algorithm, frames, stop):
                self.filmed_up_to = frames
        except Exception as error:  # whatever an environment or a disk does, training goes on
            self._give_up(frames, error)
        self.seconds += time.perf_counter() - before

    def close(self) -> None:
        """Close the environment that was kept."""
        if self._kept_env is not None:
            self._kept_env.close()
            self._kept_env = None

    def _is_due(self, frames: int, at_end: bool) -> bool:
        last, every = self.filmed_up_to, self._options.every
        if every is not None and frames > max(0, last) and (at_end or frames // every != max(0, last) // every):
            return True
        if at_end and self._end is not None and last < min(frames, self._end):
            return True
        return any(last < point <= frames for point in self._points)

    def _film(self, algorithm: BaseAlgorithm, frames: int, stop: StopRequest) -> bool:
        """Film an episode; return whether that is done, not cut short by a signal."""
        path = self._folder / f"training-{frames:012}.mp4"
        if path.exists():  # it was filmed before the run went back to a checkpoint: these frames give it again
            return True
        before = time.perf_counter()
        env = self._kept_env or self._make_env()
        self._kept_env = env if self._keep_env else None
        try:
            take = Take(algorithm, env, int(environment_seeds(self._seed, "video", 1)[0]))
            with contextlib.suppress(_CutShort), VideoWriter(path, fps=env.render_fps or DEFAULT_FPS) as writer:
                if not film([take], Scene(), writer, max_steps=self._options.max_steps, stop=stop):
                    raise _CutShort
        finally:
            if not self._keep_env:
                env.close()
        if not path.exists():
            return False
        spent = round(time.perf_counter() - before, 3)
        self._journal.video(frames, path, steps=take.step, total=take.total, ended=take.ended, seconds=spent)
        return True

    def _give_up(self, frames: int, error: Exception) -> None:
        self._is_on = False
        what = error.message if isinstance(error, RL2Error) else f"{type(error).__name__}: {error}"
        hint = f" ({error.hint})" if isinstance(error, RL2Error) and error.hint else ""
        text = f"no videos from here on: {what}{hint}"
        self._journal.event("note", frames, text=text)
        self._warn(text)


class _CutShort(Exception):
    """A signal came; the video is dropped."""


def environment_maker(spec: RunSpec, device: str) -> Callable[[], BaseEnvAdapter]:
    """Return a function that makes one environment of the run that draws."""

    def make() -> BaseEnvAdapter:
        return make_env_adapter(spec.env, num_envs=1, device=device, render_mode=PICTURES, workers=0)

    return make
