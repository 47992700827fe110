from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from makes import Make

from rl2cli import trust
from rl2cli.envs import make_env_adapter
from rl2cli.envs.base import BaseEnvAdapter


@pytest.fixture(autouse=True)
def _toys_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_granted", {"toy_environments"})


@pytest.fixture
def make() -> Iterator[Make]:
    """Make environments in this process unless told otherwise; closed after the test."""
    with ExitStack() as stack:

        def made(env_id: str, num_envs: int = 3, workers: int = 0, **options: Any) -> BaseEnvAdapter:
            table = {"id": env_id, "num_envs": num_envs, **options}
            return stack.enter_context(closing(make_env_adapter(table, workers=workers)))

        yield made


@pytest.fixture
def toy(make: Make) -> Make:
    """Make toy environments by their bare name."""
    return lambda name, *arguments, **options: make(f"toy_environments:{name}-v0", *arguments, **options)
