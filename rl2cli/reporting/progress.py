"""What the Trainer tells its views: the facts of a run, its progress, its evaluations and how it ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

Clock = Callable[[], float]
"""Returns seconds that never go back."""

SHORTEST_INTERVAL = 0.2
"""Seconds over which a speed says something."""

REPLAY_METRICS = ("replay/size", "replay/capacity", "replay/updates_per_frame")
"""What an algorithm with a replay buffer reports of it."""

Status = Literal["finished", "target reached", "stopped", "failed"]
"""How a run ended."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Returns of whole episodes of the policy at one point of the run."""

    frames: int
    mean_return: float
    std_return: float
    episodes: int
    interval: float
    """Half the width of the 95 % confidence interval of the mean."""
    stochastic_mean: float | None = None
    """Mean return with sampled actions; None where that was not measured."""
    stochastic_std: float | None = None
    stochastic_episodes: int = 0
    is_best: bool = False
    """No earlier evaluation of the run had a higher mean."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known before the first frame."""

    run_dir: str
    name: str
    seed: int
    algorithm: str
    network: str
    environment: str
    num_envs: int
    device: str
    threads: int
    choices: tuple[str, ...] = ()
    """Each automatic choice as a sentence."""
    resumed_from: int | None = None
    """Frames of the checkpoint that this session goes on from."""
    frame_skip: int = 1
    """Frames of the simulator, or the emulator, in one frame of the run."""


@dataclass(frozen=True, slots=True)
class Replay:
    """How full a replay buffer is, and how often its frames are learned from."""

    size: int
    capacity: int
    updates_per_frame: float
    """Gradient steps per frame, measured."""

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> Replay | None:
        """Return what an algorithm with a replay buffer reports; None for any other."""
        numbers = [metrics.get(name, math.nan) for name in REPLAY_METRICS]
        if not all(map(math.isfinite, numbers)):
            return None
        size, capacity, updates_per_frame = numbers
        return cls(int(size), int(capacity), updates_per_frame)


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker that steps environments for the run."""

    place: int
    """Its number; one that is started anew has that of the one before."""
    name: str
    """Where it runs."""
    is_alive: bool
    frames_per_second: float
    """Since the last report."""
    restarts: int
    """How often it was lost."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is, built only when a view is due."""

    frames: int
    total_frames: int
    iteration: int
    wall_seconds: float
    """Of this session, not of those before a resume."""
    frames_per_second_now: float
    frames_per_second_mean: float
    eta_seconds: float | None
    episodes: int
    return_mean: float | None = None
    return_best: float | None = None
    length_mean: float | None = None
    return_history: tuple[float, ...] = ()
    """Mean returns, oldest first, for the sparkline."""
    evaluation: Evaluation | None = None
    best: Evaluation | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the algorithm reports, such as `loss/policy`."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Parts of the time: environment, policy, learning, other; their sum is 1."""
    checkpoint_frames: int | None = None
    """Frames of the newest checkpoint."""
    workers: tuple[WorkerRow, ...] = ()
    """Who steps the environments, where that is not this process."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run, or this session of it, ended."""

    run_dir: str
    status: Status
    frames: int
    wall_seconds: float
    frames_per_second: float
    """Of training: the time of evaluations is left out."""
    evaluation: Evaluation | None = None
    """The last evaluation."""
    best: Evaluation | None = None
    best_checkpoint: str | None = None
    """Folder of the checkpoint that `best` was measured on."""
    total_frames: int | None = None
    tensorboard: bool = True
    """Whether the run folder holds TensorBoard files."""
    unsaved: str | None = None
    """Why the end of the run is not on the disk, and what is; None where it is."""
    inexact: tuple[str, ...] = ()
    """Why the seed alone does not decide the run; empty where training it again gives the same bits."""

    def to_json(self) -> dict[str, object]:
        """Return what `train --json` prints and `summary.json` holds; a number that is not finite becomes None."""
        return {
            "run_dir": self.run_dir,
            "status": self.status,
            "frames": self.frames,
            "total_frames": self.total_frames,
            "wall_seconds": _finite(self.wall_seconds),
            "frames_per_second": _finite(self.frames_per_second),
            "evaluation": _evaluation_json(self.evaluation),
            "best": _evaluation_json(self.best, checkpoint=self.best_checkpoint),
            **({} if self.unsaved is None else {"unsaved": self.unsaved}),
            "exact": not self.inexact,
            **({"inexact": list(self.inexact)} if self.inexact else {}),
        }


def _evaluation_json(evaluation: Evaluation | None, **more: object) -> dict[str, object] | None:
    if evaluation is None:
        return None
    return {key: _finite(value) for key, value in asdict(evaluation).items()} | more


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True, slots=True)
class Rates:
    """Speeds of one session; see `Pace`."""

    wall_seconds: float
    now: float
    """Frames per second since the last measurement."""
    mean: float
    """Frames per second of the whole session."""
    eta_seconds: float | None


class Pace:
    """The speed of one session, which begins at `start_frames`: 0, or those of the checkpoint it resumes from."""

    def __init__(self, start_frames: int, total_frames: int, clock: Clock = time.perf_counter) -> None:
        self._start_frames = start_frames
        self._total_frames = total_frames
        self._clock = clock
        self._start = clock()
        self._last = (start_frames, self._start)
        self._rate_now: float | None = None

    def measure(self, frames: int) -> Rates:
        """Return the speeds at `frames`; `now` is since the last call that was not just now."""
        now = self._clock()
        wall_seconds = now - self._start
        last_frames, last = self._last
        if now - last >= SHORTEST_INTERVAL or self._rate_now is None:
            self._rate_now = _rate(frames - last_frames, now - last)
            self._last = (frames, now)
        return Rates(
            wall_seconds,
            now=self._rate_now,
            mean=_rate(frames - self._start_frames, wall_seconds),
            eta_seconds=eta_seconds(frames, self._total_frames, self._start_frames, wall_seconds),
        )


def eta_seconds(frames: int, total_frames: int, start_frames: int, wall_seconds: float) -> float | None:
    """Return the seconds left at this session's own speed; None before its first frame.

    Frames before a resume took none of this session's time, so they do not count into its speed.
    """
    if frames >= total_frames:
        return 0.0
    rate = _rate(frames - start_frames, wall_seconds)
    return (total_frames - frames) / rate if rate > 0 else None


def _rate(frames: int, seconds: float) -> float:
    return frames / seconds if seconds > 0 else 0.0
