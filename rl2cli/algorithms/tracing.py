"""An algorithm's eager step as a function of everything that it changes: what a compiler can trace.

The step is written once, on modules that own their parameters. While it is traced, other tensors stand in their place.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from rl2cli.algorithms.adam import FlatParameters

Step = Callable[..., torch.Tensor]


def take_with(
    step: Step, root: nn.Module, parts: Sequence[FlatParameters], tensors: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Take `step` with other tensors in the place of those that it reads and changes; return what it returns.

    Args:
        step: Takes tensors, returns one, looks at no value on the host and draws no random numbers.
        root: Owns, with its submodules, every parameter that the step reads.
        parts: Everything that the step changes.
        tensors: Those of every part in order, see `FlatParameters.tensors`; then the inputs of the step.
    """
    rest = iter(tensors)
    stand_ins = [list(itertools.islice(rest, len(part.tensors()))) for part in parts]
    with _replaced(root, parts, stand_ins):
        return step(*rest)


@contextmanager
def _replaced(
    root: nn.Module, parts: Sequence[FlatParameters], stand_ins: Sequence[Sequence[torch.Tensor]]
) -> Iterator[None]:
    with ExitStack() as stack:
        views: dict[torch.Tensor, torch.Tensor] = {}
        for part, tensors in zip(parts, stand_ins, strict=True):
            own = part.parameters_in_order
            stack.enter_context(part.traced_with(tensors))
            views |= zip(own, part.parameters_in_order, strict=True)
        stack.enter_context(_parameters_replaced(root, views))
        yield


@contextmanager
def _parameters_replaced(root: nn.Module, views: Mapping[torch.Tensor, torch.Tensor]) -> Iterator[None]:
    """Have every module below `root` that owns a key of `views` hold its value for the block."""
    # As torch.func.functional_call does, which can only call a module's forward.
    found: list[tuple[dict[str, Any], str, nn.Parameter]] = [
        (module._parameters, name, parameter)
        for module in root.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and parameter in views
    ]
    for owned, name, parameter in found:
        owned[name] = views[parameter]
    try:
        yield
    finally:
        for owned, name, parameter in found:
            owned[name] = parameter
