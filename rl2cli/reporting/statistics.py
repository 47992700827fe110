"""What several seeds together say: interquartile mean and bootstrap interval.

Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, 2021 (arXiv 2108.13264). One
run is one sample, so with one environment their stratified bootstrap is a bootstrap over seeds.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]

RESAMPLES = 2000
_AT_ONCE = 2_000_000
"""Numbers that are resampled in one step, which bounds the memory."""


def interquartile_mean(values: Numbers) -> Numbers:
    """Return the mean of the middle half along the first axis: a quarter, rounded down, is left out on each side.

    As in the paper's rliable, that is the plain mean of up to three values.

    Args:
        values: [n, ...]
    """
    cut = len(values) // 4
    kept: Numbers = np.sort(values, axis=0)[cut : len(values) - cut]
    return np.asarray(kept.mean(axis=0))


def bootstrap_interval(
    values: Numbers, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Numbers, Numbers]:
    """Return the percentile bootstrap interval of the interquartile mean; the same numbers give the same interval.

    Whole curves are drawn, so the points of a curve belong together.

    Args:
        values: [n, ...], drawn from along the first axis.
        confidence: Share of the resampled means inside of the interval.
        resamples: How many times n of the n are drawn.
        seed: Seed of the drawing.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(values), (resamples, len(values)))
    step = max(1, _AT_ONCE // max(1, values.size))
    parts = [
        interquartile_mean(np.moveaxis(values[drawn[start : start + step]], 1, 0))
        for start in range(0, resamples, step)
    ]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(np.concatenate(parts), tails, axis=0)
    return low, high
