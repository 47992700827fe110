"""Whether this process is a command of rl2, or somebody's own program that uses the library. Torch-free."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field


@dataclass
class Command:
    """A command under way."""

    as_json: bool
    """Whether stdout is to have one JSON object."""
    at_end: ExitStack = field(default_factory=ExitStack)
    """What the command's end closes."""


_current: Command | None = None


def current() -> Command | None:
    """Return the command that this process runs; None in a program of somebody's own, and in a worker process."""
    return _current


def begin(*, as_json: bool) -> Command:
    """Say that this process runs a command from here to `end`."""
    global _current
    _current = Command(as_json)
    return _current


def end() -> None:
    """Close what the command has opened; nothing where none is under way."""
    global _current
    ended, _current = _current, None
    if ended is not None:
        ended.at_end.close()
