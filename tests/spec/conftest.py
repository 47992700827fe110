from __future__ import annotations

import made_up_options
import pytest

from rl2cli import registry


@pytest.fixture(autouse=True)
def _made_up_plugins(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Put made-up options behind the built-in names, except in tests marked `built_in`."""
    if "built_in" in request.fixturenames:
        return
    for kind, name, options in (
        (registry.adapters, "gymnasium", made_up_options.WorldOptions),
        (registry.networks, "mlp", made_up_options.LayersOptions),
        (registry.algorithms, "ppo", made_up_options.LearnerOptions),
    ):
        target = f"{options.__module__}:{options.__name__}"
        monkeypatch.setattr(kind, "_entries", {name: registry.Entry(name, "nowhere:Class", "built in", target)})
        monkeypatch.setattr(kind, "_points", {})
        monkeypatch.setattr(kind, "_loaded", {})


@pytest.fixture
def built_in() -> None:
    """Ask for the real plugins."""
