"""For every test: one thread, no compiler, an empty cache, no state kept between runs, and a GPU only where it is."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

from rl2cli.plugins import lookup

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, by the tests that need it

os.environ["CXX"] = "no-compiler-in-tests"  # also in the processes they start: building takes half a minute


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell's background jobs have it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _empty_cache() -> Iterator[None]:
    """Keep what this user has compiled, registered and trusted out of the tests."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", folder)
        patch.setenv("XDG_CONFIG_HOME", f"{folder}/config")
        yield


def pytest_runtest_teardown() -> None:
    """Forget whose projects a test looked into: their names would count in the next one."""
    lookup._starts.clear()


settings.register_profile("rl2", deadline=None, database=None, max_examples=50)
settings.load_profile("rl2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker("cuda")]
    if not needing:
        return
    import torch

    if not torch.cuda.is_available():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
