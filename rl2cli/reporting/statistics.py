"""Statistics of a few returns. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable


def interquartile_mean(values: Iterable[float]) -> float:
    """Return the mean of the middle half: the lowest and the highest quarter, rounded down, are left out.

    Source: Agarwal et al. 2021, Deep reinforcement learning at the edge of the statistical precipice, arXiv 2108.13264;
    the same numbers as `scipy.stats.trim_mean(values, 0.25)`, which their library takes.

    Raises:
        ValueError: There are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    cut = len(ordered) // 4
    middle = ordered[cut : len(ordered) - cut]
    return sum(middle) / len(middle)
