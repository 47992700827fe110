"""Settings that change over a run, as functions of absolute frames. Torch-free."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rl2cli.options import Options


class Schedule(Options):
    """A setting that moves from `start` to `end`, then stays there."""

    start: float = Field(ge=0.0, description="Value at frame 0.")
    end: float = Field(ge=0.0, description="Value from frame `frames` on.")
    shape: Literal["linear", "cosine", "exponential"] = Field("linear", description="How it gets from start to end.")
    frames: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Frames it takes; the run's total_frames where left out."
    )

    @model_validator(mode="after")
    def _check_exponential(self) -> Schedule:
        if self.shape == "exponential" and not (self.start > 0.0 and self.end > 0.0):
            raise ValueError("an exponential schedule cannot touch 0")
        return self


Scheduled = float | Schedule
"""A number, or a table `{ start, end, shape, frames }`."""


def value_at(setting: Scheduled, frames: int, total_frames: int) -> float:
    """Return `setting` at absolute frame `frames` of a run of `total_frames`."""
    if not isinstance(setting, Schedule):
        return setting
    progress = min(frames / (setting.frames or total_frames), 1.0)
    if setting.shape == "linear":
        return setting.start + (setting.end - setting.start) * progress
    if setting.shape == "cosine":
        return setting.end + (setting.start - setting.end) * (1.0 + math.cos(math.pi * progress)) / 2.0
    factor: float = (setting.end / setting.start) ** progress
    return setting.start * factor
