"""Parameters in one flat vector: clipping, a step of Adam or following cost two operations, however many there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import nn
from torch.optim.adam import adam

from rl2cli.algorithms.gradient_shards import GradientShards, Loss, Rows

BETA1, BETA2 = 0.9, 0.999


class FlatParameters(nn.Module):
    """The parameters of some modules, moved into one vector that they become views of.

    Build it after they are on their device. They stay part of their modules' `state_dict`, and are not of this one's.

    Args:
        parameters: All on one device and of one dtype.
    """

    STATE: ClassVar[tuple[str, ...]] = ("flat",)
    """Names of the tensors that a gradient step changes."""
    SETTINGS: ClassVar[tuple[str, ...]] = ()
    """Names of the tensors that it only reads."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self.parameters_in_order: list[torch.Tensor] = list(parameters)
        self.flat = _flatten(self.parameters_in_order)
        self.is_traced = False

    def state(self) -> list[torch.Tensor]:
        """Return every tensor that a step changes."""
        return [getattr(self, name) for name in self.STATE]

    def settings(self) -> list[torch.Tensor]:
        """Return every tensor that a step only reads, a scalar each."""
        return [getattr(self, name) for name in self.SETTINGS]

    def tensors(self) -> list[torch.Tensor]:
        """Return `state` and `settings`."""
        return self.state() + self.settings()

    def constants(self) -> list[object]:
        """Return the numbers that become part of a step's code."""
        return [type(self).__name__, *[tuple(parameter.shape) for parameter in self.parameters_in_order]]

    @torch.no_grad()
    def follow(self, source: FlatParameters, rate: float) -> None:
        """Move towards `source`, whose parameters have the same shapes, by `rate` of the way; 1 copies it."""
        self.flat.lerp_(source.flat, rate)

    @contextmanager
    def traced_with(self, tensors: Sequence[torch.Tensor]) -> Iterator[None]:
        """Have `tensors` in place of `tensors()` for the block, and views of the vector among them as parameters."""
        names = [*self.STATE, *self.SETTINGS]
        own, parameters = self.tensors(), self.parameters_in_order
        self._take(names, tensors)
        pieces = torch.split(self.flat, [parameter.numel() for parameter in parameters])
        self.parameters_in_order = [
            piece.detach().view(parameter.shape).requires_grad_(parameter.requires_grad)
            for piece, parameter in zip(pieces, parameters, strict=True)
        ]
        self.is_traced = True
        try:
            yield
        finally:
            self.is_traced = False
            self.parameters_in_order = parameters
            self._take(names, own)

    def _take(self, names: Sequence[str], tensors: Sequence[torch.Tensor]) -> None:
        for name, tensor in zip(names, tensors, strict=True):
            setattr(self, name, tensor)


class FlatAdam(FlatParameters):
    """Adam (Kingma and Ba 2014, arXiv 1412.6980) with the gradient's norm clipped.

    A step whose gradient is not finite changes nothing. Moments and step count are buffers: part of `state_dict`.

    Args:
        parameters: What it optimises, all on one device and of one dtype.
        epsilon: Added to the denominator.
        max_grad_norm: Longest gradient, by Euclidean norm; 0 for any.
    """

    STATE = ("flat", "first_moment", "second_moment", "step_count")
    SETTINGS = ("learning_rate",)

    step_count: torch.Tensor
    first_moment: torch.Tensor
    second_moment: torch.Tensor
    learning_rate: torch.Tensor

    def __init__(self, parameters: Iterable[nn.Parameter], epsilon: float, max_grad_norm: float) -> None:
        super().__init__(parameters)
        self.epsilon = epsilon
        self.max_grad_norm = max_grad_norm
        self.shards: GradientShards | None = None
        self.register_buffer("first_moment", torch.zeros_like(self.flat))
        self.register_buffer("second_moment", torch.zeros_like(self.flat))
        self.register_buffer("step_count", torch.zeros((), device=self.flat.device))
        self.register_buffer("learning_rate", torch.zeros((), device=self.flat.device))

    def constants(self) -> list[object]:
        """Return the numbers that become part of a step's code."""
        return [*super().constants(), self.epsilon, self.max_grad_norm]

    def minimise(self, loss: Callable[..., Loss], batch: Rows, *tensors: torch.Tensor) -> tuple[torch.Tensor, Loss]:
        """Take one step down the gradient of a loss of rows, which several learners may share out among them.

        Args:
            loss: Takes rows of `batch`, then the same rows of `tensors`; its value is a mean over them.
            batch: [B].
            tensors: More tensors with B rows.

        Returns:
            The gradient's norm before clipping, and the loss of all rows, without gradients.
        """
        if self.shards is None:
            found = loss(batch, *tensors)
            return self.step(found.value), found.detached()
        gradient, found = self.shards.gradient(loss, batch, tensors, self.parameters_in_order)
        return self.apply_gradient([gradient]), found

    def step(self, loss: torch.Tensor) -> torch.Tensor:
        """Take one step down the gradient of `loss` at `learning_rate`; return the gradient's norm before clipping."""
        gradients = torch.autograd.grad(loss, self.parameters_in_order, materialize_grads=True)
        return self.apply_gradient(gradients)

    @torch.no_grad()
    def apply_gradient(self, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """Take one step along `gradients`, joined in the order of the parameters; return their norm before clipping."""
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        if self.is_traced:
            return adam_step(self.state(), flat, self.learning_rate, self.epsilon, self.max_grad_norm)
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


def _flatten(parameters: list[torch.Tensor]) -> torch.Tensor:
    """Move the parameters into one new vector that they become views of, and return it."""
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    pieces = torch.split(flat, [parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.data = piece.view(parameter.shape)
    return flat
