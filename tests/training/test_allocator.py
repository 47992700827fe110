"""Freed memory of large tensors is kept where the C library can."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from rl2cli.training.allocator import keep_freed_memory

FAULTS = """
import resource, sys, torch
from rl2cli.training.allocator import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def touch():
    for _ in range(20):  # aligned blocks fragment at first: the first few may each take new pages
        torch.ones(9_000_000)  # more than glibc keeps by itself
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_large_tensors_take_pages_that_are_there() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)

    assert faults("keep") * 4 < faults("leave")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
