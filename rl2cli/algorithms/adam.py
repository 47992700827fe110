"""Adam over one flat vector: clipping and the step cost two operations, however many parameters a network has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.optim.adam import adam

BETA1, BETA2 = 0.9, 0.999


class FlatAdam(nn.Module):
    """Adam (Kingma and Ba 2014, arXiv 1412.6980) with the gradient's norm clipped.

    The parameters given are moved into one vector that they become views of, so build it after they are on their
    device. A step whose gradient is not finite changes nothing. Moments and step count are buffers: part of
    `state_dict`.

    Args:
        parameters: What it optimises, all on one device and of one dtype.
        epsilon: Added to the denominator.
        max_grad_norm: Longest gradient, by Euclidean norm; 0 for any.
    """

    step_count: torch.Tensor
    first_moment: torch.Tensor
    second_moment: torch.Tensor
    learning_rate: torch.Tensor

    def __init__(self, parameters: Iterable[nn.Parameter], epsilon: float, max_grad_norm: float) -> None:
        super().__init__()
        self.parameters_in_order = list(parameters)
        self.epsilon = epsilon
        self.max_grad_norm = max_grad_norm
        self.flat = _flatten(self.parameters_in_order)
        self.register_buffer("first_moment", torch.zeros_like(self.flat))
        self.register_buffer("second_moment", torch.zeros_like(self.flat))
        self.register_buffer("step_count", torch.zeros((), device=self.flat.device))
        self.register_buffer("learning_rate", torch.zeros((), device=self.flat.device))

    def state(self) -> list[torch.Tensor]:
        """Return every tensor that a step changes."""
        return [self.flat, self.first_moment, self.second_moment, self.step_count]

    def step(self, loss: torch.Tensor) -> torch.Tensor:
        """Take one step down the gradient of `loss` at `learning_rate`; return the gradient's norm before clipping."""
        gradients = torch.autograd.grad(loss, self.parameters_in_order, materialize_grads=True)
        return self.apply_gradient(gradients)

    @torch.no_grad()
    def apply_gradient(self, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """Take one step along `gradients`, one per parameter in order; return their norm before clipping."""
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        norm: torch.Tensor = torch.linalg.vector_norm(flat)
        if flat.is_cpu:
            self._apply_on_cpu(flat, norm.item())
        else:
            self._apply_without_sync(flat, norm)
        return norm

    def _apply_on_cpu(self, flat: torch.Tensor, norm: float) -> None:
        if not math.isfinite(norm):
            return
        if self.max_grad_norm and norm > self.max_grad_norm:
            flat *= self.max_grad_norm / (norm + 1e-6)
        self._adam(flat, self.learning_rate.item(), None)

    def _apply_without_sync(self, flat: torch.Tensor, norm: torch.Tensor) -> None:
        if self.max_grad_norm:
            flat *= (self.max_grad_norm / (norm + 1e-6)).clamp_(max=1.0)
        self._adam(flat, self.learning_rate, (~norm.isfinite()).float())

    def _adam(self, flat: torch.Tensor, learning_rate: float | torch.Tensor, found_inf: torch.Tensor | None) -> None:
        # The function, not torch.optim.Adam: building one imports torch._dynamo, a good second of every run's start.
        adam(
            [self.flat], [flat], [self.first_moment], [self.second_moment], [], [self.step_count],
            fused=flat.device.type in ("cpu", "cuda", "mps"), capturable=flat.is_cuda, foreach=False,
            found_inf=found_inf,
            amsgrad=False, beta1=BETA1, beta2=BETA2, weight_decay=0.0, eps=self.epsilon, maximize=False,
            lr=learning_rate,
        )  # fmt: skip


def adam_step(
    state: Sequence[torch.Tensor],
    gradient: torch.Tensor,
    learning_rate: torch.Tensor,
    epsilon: float,
    max_grad_norm: float,
) -> torch.Tensor:
    """Take the step of `FlatAdam` in plain operations that a compiler can trace and join.

    Args:
        state: `FlatAdam.state()`, changed in place unless the gradient is not finite.
        gradient: [P].
        learning_rate: Scalar tensor.
        epsilon: See `FlatAdam`.
        max_grad_norm: See `FlatAdam`.

    Returns:
        The gradient's norm before clipping.
    """
    flat, first_moment, second_moment, step_count = state
    norm: torch.Tensor = torch.linalg.vector_norm(gradient)
    if max_grad_norm:
        gradient = gradient * (max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
    count = step_count + 1
    first = torch.lerp(first_moment, gradient, 1.0 - BETA1)
    second = second_moment * BETA2 + gradient * gradient * (1.0 - BETA2)
    denominator = second.sqrt() / (1.0 - BETA2**count).sqrt() + epsilon
    moved = flat - learning_rate / (1.0 - BETA1**count) * first / denominator
    finite = norm.isfinite()
    for old, new in zip(state, (moved, first, second, count), strict=True):
        old.copy_(torch.where(finite, new, old))
    return norm


def _flatten(parameters: list[nn.Parameter]) -> torch.Tensor:
    """Move the parameters into one new vector that they become views of, and return it."""
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    pieces = torch.split(flat, [parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.data = piece.view(parameter.shape)
    return flat
