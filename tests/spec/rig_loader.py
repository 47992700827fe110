"""Rigs as modules: they are scripts, and their folder is not one of packages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_rig(name: str) -> ModuleType:
    """Return `tests/rigs/<name>.py` as a module."""
    found = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "rigs" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # which NamedTuple looks itself up in
    found.loader.exec_module(module)
    return module
