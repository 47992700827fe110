from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what takes minutes of a quiet machine unless it was asked for by its mark."""
    if "benchmark" not in config.option.markexpr:
        for item in items:
            if "benchmark" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="timed; run with -m benchmark on a quiet machine"))
