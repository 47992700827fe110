"""Which modules a file from elsewhere may have imported: granted, registered, and installed packages' own."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from rl2cli.errors import UsageError
from rl2cli.plugins import announced, lookup

_ENTRY_POINT_GROUPS = ("rl2cli.adapters", "rl2cli.networks", "rl2cli.algorithms")
_granted: set[str] = set()


def allow_import(names: Iterable[str]) -> None:
    """Grant modules or whole packages, by name, to this process and to the workers it starts."""
    _granted.update(names)


def granted() -> tuple[str, ...]:
    """Return the names granted to this process or by `rl2 register`, sorted; a worker process is given the same."""
    return tuple(sorted(_granted | lookup.trusted_modules().keys()))


def is_allowed(module: str) -> bool:
    """Return whether `module` may be imported: it or a package around it is granted, registered or an entry point's.

    A package around a granted module is allowed too, since importing the module runs it.
    """
    names = _granted | lookup.trusted_modules().keys() | _entry_point_modules()
    return any(module == name or module.startswith(f"{name}.") or name.startswith(f"{module}.") for name in names)


def require_allowed(module: str, what: str) -> None:
    """Refuse a module that nobody granted; `what` says where its name was found.

    Raises:
        UsageError: It is not allowed; the hint is the option that allows it.
    """
    if not is_allowed(module):
        raise UsageError(
            f"{what} would import the module {module!r}, which is not allowed",
            hint=f"if you trust that code: --allow-import {module} this once, `rl2 register module {module}` for good",
        )
    _find_beside(module)


def _find_beside(module: str) -> None:
    """Let a registered module be found where it was when it was registered."""
    for name, folder in lookup.trusted_modules().items():
        if module == name or module.startswith(f"{name}.") or name.startswith(f"{module}."):
            lookup.append_to_path(folder)


@functools.cache
def _entry_point_modules() -> frozenset[str]:
    points = [point for group in _ENTRY_POINT_GROUPS for point in announced.entry_points(group)]
    return frozenset(point.module for point in points)
