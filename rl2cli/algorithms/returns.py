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


def vtrace(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    done: Array,
    ratio: Array,
    gamma: float,
    gae_lambda: float = 1.0,
) -> Array:
    """Return the advantages [T, N] of a rollout that another policy collected, by V-trace; targets are V + A.

    v_t = V(s_t) + sum over k of gamma^k (c_t ... c_{t+k-1}) delta_{t+k}  (equation 1), with
    delta_t = rho_t (r_t + gamma V(s_{t+1}) - V(s_t)),  rho_t = min(1, ratio_t),  c_t = lambda rho_t  (remark 2).
    The policy's advantage rho_t (r_t + gamma v_{t+1} - V(s_t)) of section 4.2 is v_t - V(s_t), as rho and c are clipped
    alike; lambda in it as in rlax's `vtrace_td_error_and_advantage`.

    Where both policies are equal it is `generalized_advantage_estimation`, and episodes end as there.
    Source: Espeholt et al. 2018, IMPALA, arXiv 1802.01561.

    Args:
        reward: [T, N] float; it and the next four as for `generalized_advantage_estimation`.
        value: [T, N] float.
        next_value: [T, N] float.
        terminated: [T, N].
        done: [T, N].
        ratio: [T, N] float, probability of the action by the policy that learns over that by the one that acted.
        gamma: Discount.
        gae_lambda: Mix of the estimates, 1 in the paper.
    """
    weight = ratio.clip(None, 1.0)
    advantage: Array = weight * (reward + gamma * next_value * (1.0 - terminated) - value)
    decay = gamma * gae_lambda * (1.0 - done) * weight
    for t in range(len(advantage) - 2, -1, -1):
        advantage[t] += decay[t] * advantage[t + 1]
    return advantage


def explained_variance(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return 1 - Var(target - value) / Var(target): 1 is a perfect critic, 0 one as good as a constant."""
    return 1.0 - (target - value).var() / target.var().clamp_min(1e-8)
