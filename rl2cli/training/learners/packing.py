"""Named tensors as a few buffers of bytes, so that a rollout goes to other learners in one piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

ALIGNMENT = 64
"""Bytes: a tensor begins where one of its own would, since some kernels choose their order of summation by that."""
LARGEST = 1 << 26
"""Bytes of a buffer, unless one tensor alone has more."""

Layout = dict[str, Any]
"""What `unpack` needs to know, as JSON."""


def pack(tensors: Mapping[str, torch.Tensor]) -> tuple[Layout, list[torch.Tensor]]:
    """Return where each tensor lies, and the buffers [bytes] uint8; a tensor larger than `LARGEST` is not copied."""
    groups: list[list[str]] = []
    ends: list[tuple[str, int]] = []  # of every buffer: the kind of device, and the bytes so far
    places = {}
    for name, tensor in tensors.items():
        device, size = tensor.device.type, -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
        found = [index for index, (kind, end) in enumerate(ends) if kind == device and end + size <= LARGEST]
        index = found[-1] if found else len(ends)
        if not found:
            groups.append([])
            ends.append((device, 0))
        places[name] = [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), index, ends[index][1]]
        ends[index] = device, ends[index][1] + size
        groups[index].append(name)
    buffers = [_join([tensors[name] for name in names], end) for names, (_, end) in zip(groups, ends, strict=True)]
    kinds = [[buffer.device.type, len(buffer)] for buffer in buffers]
    return {"tensors": places, "buffers": kinds}, buffers


def allocate(layout: Layout, device: torch.device) -> list[torch.Tensor]:
    """Return buffers for a layout; those that were on a GPU are on `device`."""
    places = [torch.device("cpu") if kind == "cpu" else device for kind, _ in layout["buffers"]]
    return [
        torch.empty(size, dtype=torch.uint8, device=place)
        for place, (_, size) in zip(places, layout["buffers"], strict=True)
    ]


def unpack(layout: Layout, buffers: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors, which are views of `buffers`."""
    tensors = {}
    for name, (dtype_name, shape, index, start) in layout["tensors"].items():
        dtype: torch.dtype = getattr(torch, dtype_name)
        count = torch.Size(shape).numel()
        tensors[name] = buffers[index][start : start + count * dtype.itemsize].view(dtype).view(shape)
    return tensors


def _join(tensors: Sequence[torch.Tensor], size: int) -> torch.Tensor:
    if len(tensors) == 1 and tensors[0].nbytes > LARGEST:
        return _bytes(tensors[0])
    buffer, start = torch.empty(size, dtype=torch.uint8, device=tensors[0].device), 0
    for tensor in tensors:
        buffer[start : start + tensor.nbytes] = _bytes(tensor)
        start += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    return buffer


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
