"""One update step as a CUDA graph: the host launches one thing instead of a hundred kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

WARM_UP_CALLS = 3
"""Calls on a side stream before capture, as torch.cuda.graphs documents."""


class GraphedStep:
    """Replays `step`, a function of tensors of fixed shapes that also changes `state` in place.

    Captured on construction, which leaves `state` as it was.

    Args:
        step: Takes the tensors of `inputs`, returns one tensor, never looks at a value on the host.
        inputs: Examples of the inputs; later calls must have their shapes and dtypes.
        state: Every tensor that `step` changes.
    """

    def __init__(
        self, step: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor], state: Sequence[torch.Tensor]
    ) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        saved = [tensor.clone() for tensor in state]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_CALLS):
                step(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = step(*self._inputs)
        for tensor, value in zip(state, saved, strict=True):
            tensor.copy_(value)

    def fits(self, inputs: Sequence[torch.Tensor]) -> bool:
        """Return whether `inputs` have the shapes that were captured."""
        return [tensor.shape for tensor in inputs] == [tensor.shape for tensor in self._inputs]

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run the step on `inputs`; the result is overwritten by the next call."""
        for captured, tensor in zip(self._inputs, inputs, strict=True):
            captured.copy_(tensor, non_blocking=True)
        self._graph.replay()
        return self._output
