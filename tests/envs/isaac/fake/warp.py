"""Warp on a machine without a GPU, as far as it is asked."""

from types import SimpleNamespace

config = SimpleNamespace(quiet=False)
_cpu = SimpleNamespace(default_allocator="plain", pinned_allocator="pinned")


def init() -> None:
    print("Warp is here")


def is_cuda_available() -> bool:
    return False


def get_device(name: str) -> SimpleNamespace:
    assert name == "cpu"
    return _cpu
