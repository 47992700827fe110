"""Whether what an algorithm keeps of the past fits in memory and on the disk: said, and checked before it is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.errors import UsageError
from rl2cli.spec.model import RunSpec
from rl2cli.training.checkpoint_format import SEGMENTS_FOLDER
from rl2cli.training.free_memory import bytes_in, free_disk, free_memory

USABLE = 0.9
"""Part of what is free that may be taken."""


def require_room(
    spec: RunSpec, algorithm: BaseAlgorithm, checkpoints: Path, total_frames: int | None = None
) -> str | None:
    """Return in words what the algorithm will keep of the past; None where that is nothing.

    Args:
        spec: The run, for how long its checkpoints keep what training has forgotten.
        algorithm: Says what it will keep; nothing of it is allocated yet.
        checkpoints: Where they lie or will lie.
        total_frames: Frames it goes on to, where not those of the spec.

    Raises:
        UsageError: It does not fit in memory or on the disk; the hint has the number that does.
    """
    if not algorithm.memory_bytes:
        return None
    saved = bytes_in(checkpoints / SEGMENTS_FOLDER)
    buffer = _Buffer.of(spec, algorithm, saved, total_frames or spec.total_frames)
    memory, free = _memory_of(algorithm.task.device), free_memory(algorithm.task.device)
    disk = free_disk(checkpoints)
    frames, frames_on_disk = (USABLE * each / buffer.bytes_per_frame for each in (free, disk))
    fits = min(frames, buffer.frames_that_fit_on_disk(frames_on_disk))
    if buffer.bytes > USABLE * free:
        raise buffer.refused(buffer.bytes, free, memory, fits)
    if buffer.bytes_on_disk - buffer.saved > USABLE * disk:
        raise buffer.refused(buffer.bytes_on_disk, disk, "the disk", fits)
    sizes = f"{in_words(buffer.bytes)} of {memory}, at most {in_words(buffer.bytes_on_disk)} of the disk"
    return f"a replay buffer of {buffer.frames:,} frames: {sizes}"


@dataclass(frozen=True)
class _Buffer:
    """The newest frames of a run, which are kept, and as checkpoints have them."""

    frames: int
    bytes: int
    option: str
    """The option that is `frames`."""
    total_frames: int
    every: int
    """Frames between checkpoints."""
    keep: int
    """Newest checkpoints kept."""
    saved: int
    """Bytes on the disk already: more than 0 where a run is resumed."""

    @classmethod
    def of(cls, spec: RunSpec, algorithm: BaseAlgorithm, saved: int, total_frames: int) -> _Buffer:
        """Return what `algorithm` will keep in the run `spec`."""
        option, every = algorithm.memory_option, spec.checkpoint.every or spec.total_frames
        frames = int(getattr(algorithm.options, option))
        return cls(frames, algorithm.memory_bytes, option, total_frames, every, spec.checkpoint.keep, saved)

    @property
    def bytes_per_frame(self) -> float:
        """Bytes of a frame."""
        return self.bytes / self.frames

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of checkpoints at most: each frame is in one file, while a checkpoint that is kept has it.

        The newest ones, with one being saved, and the best one.
        """
        frames = min((self.keep + 2) * self.frames, self.keep * self.every + 2 * self.frames, self.total_frames)
        return round(frames * self.bytes_per_frame)

    def frames_that_fit_on_disk(self, room: float) -> float:
        """Return how many frames the buffer may have where `room` frames fit on the disk."""
        if self.total_frames <= room:
            return math.inf
        return max(room / (self.keep + 2), (room - self.keep * self.every) / 2)

    def refused(self, needed: int, free: int, where: str, fits: float) -> UsageError:
        """Return the error for a buffer that takes `needed` bytes; one of `fits` frames would do."""
        if self.saved:
            hint = "free some space: a run that goes on keeps the size of its buffer"
        elif fits < 1:
            hint = "free some space"
        else:
            hint = f"{self.option} = {_rounded_down(fits):_} fits"
        message = (
            f"a replay buffer of {self.frames:,} frames takes {in_words(needed)}, "
            f"and {in_words(free)} of {where} are free"
        )
        return UsageError(message, hint=hint, place=f"algorithm.{self.option}")


def in_words(count: float) -> str:
    """Return a number of bytes as people read it: `88 MB`, `17.2 GB`."""
    for size, unit, decimals in ((1e9, "GB", 1), (1e6, "MB", 0), (1e3, "kB", 0)):
        if count >= size:
            return f"{count / size:,.{decimals}f} {unit}"
    return f"{count:.0f} bytes"


def _memory_of(device: torch.device) -> str:
    return f"the memory of {device}" if device.type == "cuda" else "memory"


def _rounded_down(number: float) -> int:
    """Return `number` with three significant digits."""
    digits = str(int(number))
    return int(digits[:3] + "0" * (len(digits) - 3))
