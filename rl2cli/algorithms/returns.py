"""Returns and advantages: pure functions over [T, N] arrays."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

Array = TypeVar("Array", np.ndarray, torch.Tensor)


def generalized_advantage_estimation(
    reward: Array, value: Array, next_value: Array, terminated: Array, done: Array, gamma: float, gae_lambda: float
) -> Array:
    """Return the advantages [T, N] of a rollout.

    delta_t = r_t + gamma V(s_{t+1}) (1 - terminated_t) - V(s_t);  A_t = delta_t + gamma lambda (1 - done_t) A_{t+1}

    A truncated step still bootstraps from its true successor; no episode's advantage reaches into another's.
    Source: Schulman et al. 2015, arXiv 1506.02438, equation 16.

    Args:
        reward: [T, N] float.
        value: [T, N] float, V(s_t).
        next_value: [T, N] float, V of the TRUE successor, the final observation where an episode ended.
        terminated: [T, N], 1 where the task ended.
        done: [T, N], 1 where the episode ended in any way.
        gamma: Discount.
        gae_lambda: Mix of the estimates.
    """
    delta: Array = reward + gamma * next_value * (1.0 - terminated) - value
    decay = gamma * gae_lambda * (1.0 - done)
    for t in range(len(delta) - 2, -1, -1):
        delta[t] += decay[t] * delta[t + 1]
    return delta


def explained_variance(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return 1 - Var(target - value) / Var(target): 1 is a perfect critic, 0 one as good as a constant."""
    return 1.0 - (target - value).var() / target.var().clamp_min(1e-8)
