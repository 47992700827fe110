"""The base of every options model: one table of a run spec, validated and frozen."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict


class Misfit(NamedTuple):
    """Settings that do not go together, found by `Options.misfits`."""

    key: str
    """Name of the option at fault."""
    message: str
    """What is wrong, with the numbers."""
    hint: str | None = None
    """What would be right."""


class Options(BaseModel):
    """Settings of one part of a run: immutable, unknown keys and non-finite numbers refused.

    A plugin declares its own as a subclass: each field has a type, a default and a one-sentence `description`;
    everything that lists, documents or checks the option reads it from there.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True, defer_build=True
    )

    def misfits(self, num_envs: int, total_frames: int) -> list[Misfit]:
        """Return what does not fit the size of the run: `num_envs` environments, `total_frames` frames in all."""
        del num_envs, total_frames
        return []


def nearest_divisors(whole: int, size: int) -> list[int]:
    """Return the divisors of `whole` next to `size`, the smaller and the larger one where there are both."""
    divisors = {d for k in range(1, int(whole**0.5) + 1) if whole % k == 0 for d in (k, whole // k)}
    smaller = [d for d in divisors if d < size]
    larger = [d for d in divisors if d > size]
    return ([max(smaller)] if smaller else []) + ([min(larger)] if larger else [])
