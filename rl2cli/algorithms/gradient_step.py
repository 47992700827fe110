"""One gradient step of an algorithm, written once as eager code and run the fastest way there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from rl2cli.algorithms.adam import FlatAdam, FlatParameters
from rl2cli.algorithms.compiled import CompiledStep
from rl2cli.algorithms.cuda_graph import GraphedStep
from rl2cli.algorithms.tracing import Step


class GradientStep:
    """A step as a CUDA graph, as compiled code once that is loaded, or as it is written.

    A CUDA graph is captured for the shapes of the first call, and compiled code is for a range of rows; a call that
    does not fit is taken eagerly, and so is a step whose gradients are made of shards.

    Args:
        step: Takes tensors on `device`, each a scalar setting or with rows, and returns what it reports, [K]. It looks
            at no value on the host, draws no random numbers, and reads no tensor that ever changes besides its
            inputs and what `parts` hold.
        root: Owns, with its submodules, every parameter that the step reads.
        parts: Everything that the step changes: optimizers, and targets that follow.
        device: Where all of it is.
    """

    def __init__(self, step: Step, root: nn.Module, parts: Sequence[FlatParameters], device: torch.device) -> None:
        self._step, self._root, self._parts = step, root, list(parts)
        self._on_cuda = device.type == "cuda"
        self._optimizers = [part for part in parts if isinstance(part, FlatAdam)]
        self._graph: GraphedStep | None = None
        self._compiled: CompiledStep | None = None

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Take the step; what it returns is overwritten by the next call."""
        if any(optimizer.shards is not None for optimizer in self._optimizers):
            return self._step(*inputs)
        if self._on_cuda and self._graph is None:
            state = [tensor for part in self._parts for tensor in part.state()]
            self._graph = GraphedStep(self._step, inputs, state)
        faster = self._graph or self._compiled
        return faster(*inputs) if faster is not None and faster.fits(inputs) else self._step(*inputs)

    def make_compiled(
        self,
        make_inputs: Callable[[int], list[torch.Tensor]],
        rows: int,
        decided_by: Sequence[object],
        calls: float,
        *,
        rows_vary: bool,
    ) -> CompiledStep:
        """Return the step in compilable form, which is taken from now on once it is loaded; see `CompiledStep`."""
        self._compiled = CompiledStep(
            self._step, self._root, self._parts, make_inputs, rows, decided_by, calls, rows_vary=rows_vary
        )
        return self._compiled
