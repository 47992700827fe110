"""Warp on a machine without an NVIDIA driver."""

from __future__ import annotations

from typing import Any

_PINNED = ("pinned_allocator", "_pinned_allocator")
"""Where Warp keeps a CPU device's allocator of pinned memory; the name has changed between versions."""


def start_warp() -> Any:
    """Start Warp without its banner and return its module; pinned host memory is plain memory where no driver can pin.

    Libraries on top of Warp ask for pinned memory to copy to a GPU faster, also where there is no GPU, and Warp has
    none without CUDA.
    """
    import warp

    warp.config.quiet = True
    warp.init()
    if not warp.is_cuda_available():
        cpu = warp.get_device("cpu")
        for name in _PINNED:
            if hasattr(cpu, name):
                setattr(cpu, name, cpu.default_allocator)
    return warp
