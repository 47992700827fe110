"""Starting this Python again, so that what lies in the current folder shadows no module."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HOME = Path(__file__).resolve().parents[1]
"""The folder that the package `rl2cli` lies in."""
_SAFE = "PYTHONSAFEPATH"


def python_module(module: str) -> list[str]:
    """Return the command that runs `module` in a new process; only rl2's own checkout may be the current folder."""
    return [sys.executable, *([] if _needs_current_folder() else ["-P"]), "-m", module]


def leave_current_folder() -> None:
    """Take the current folder, which `python -m` puts first, out of the module path."""
    if not sys.flags.safe_path and sys.path and not _needs_current_folder() and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]


@contextmanager
def safe_start() -> Iterator[None]:
    """Let processes that are started in the block not look for modules in the current folder first."""
    before = os.environ.get(_SAFE)
    os.environ[_SAFE] = before or "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE]


def _needs_current_folder() -> bool:
    try:
        return Path.cwd().resolve() == _HOME
    except OSError:
        return False
