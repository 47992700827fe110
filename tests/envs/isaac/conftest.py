from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from contract import Make

from rl2cli.envs import make
from rl2cli.envs.isaac import assets, installation

FAKE = Path(__file__).parent / "fake"
MODULES = {path.stem for path in FAKE.iterdir()}


@pytest.fixture
def fake_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Put the fake Isaac Lab in the place of the real one, here and in child processes; return an asset root."""
    root = tmp_path / "assets"
    root.mkdir()
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", str(FAKE), prepend=":")
    monkeypatch.setenv(assets.VARIABLE, str(root))
    monkeypatch.setattr(installation, "lab_version", lambda: "3.0.0")
    monkeypatch.setattr(make, "_made", type(make._made)())
    before = dict(gymnasium.registry)
    _forget()
    yield root
    _forget()
    for name in gymnasium.registry.keys() - before.keys():
        del gymnasium.registry[name]


@pytest.fixture
def isaac(fake_lab: Path) -> Iterator[Make]:
    """Make environments of the fake; closed after the test."""
    with ExitStack() as stack:

        def made(task: str = "Isaac-Point", num_envs: int = 3, render_mode: str | None = None, **options: Any) -> Any:
            table = {"backend": "isaac", "id": task, "num_envs": num_envs, **options}
            return stack.enter_context(closing(make.make_env_adapter(table, render_mode=render_mode)))

        yield made


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in MODULES]:
        del sys.modules[name]
    importlib.invalidate_caches()
