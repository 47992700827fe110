"""For every test: one thread, no state kept between runs, and no test that needs a GPU where there is none."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, by the tests that need it

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
