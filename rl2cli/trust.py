"""Which modules a file that arrived from elsewhere may have imported: granted ones and installed packages' own."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from rl2cli.errors import UsageError

_ENTRY_POINT_GROUPS = ("rl2cli.adapters", "rl2cli.networks", "rl2cli.algorithms")
_granted: set[str] = set()


def allow_import(names: Iterable[str]) -> None:
    """Grant modules or whole packages, by name, to this process and to the workers it starts."""
    _granted.update(names)


def granted() -> tuple[str, ...]:
    """Return the granted names, sorted; a worker process is given the same."""
    return tuple(sorted(_granted))


def is_allowed(module: str) -> bool:
    """Return whether `module` may be imported: it, or a package around it, is granted or has an rl2 entry point.

    A package around a granted module is allowed too, since importing the module runs it.
    """
    names = _granted | _entry_point_modules()
    return any(module == name or module.startswith(f"{name}.") or name.startswith(f"{module}.") for name in names)


def require_allowed(module: str, what: str) -> None:
    """Refuse a module that nobody granted; `what` says where its name was found.

    Raises:
        UsageError: It is not allowed; the hint is the option that allows it.
    """
    if not is_allowed(module):
        raise UsageError(
            f"{what} would import the module {module!r}, which is not allowed",
            hint=f"add --allow-import {module} to the command if you trust that code",
        )


@functools.cache
def _entry_point_modules() -> frozenset[str]:
    import importlib.metadata  # only where a file names a module

    points = [point for group in _ENTRY_POINT_GROUPS for point in importlib.metadata.entry_points(group=group)]
    return frozenset(point.module for point in points)
