"""What a command of this process prints, piped or on a terminal."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable
from typing import NamedTuple

from rl2cli.cli import dispatch


class Said(NamedTuple):
    """What a place printed."""

    out: str
    err: str
    as_json: bool = False
    several_lines: bool = False


class Stream(io.TextIOWrapper):
    """stdout or stderr, a terminal or not."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="replace", newline="")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Return whether it says that it is a terminal."""
        return self._is_terminal

    def text(self) -> str:
        """Return what was written to it."""
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode("utf-8")


Place = Callable[[str, random.Random, bool], Said]
"""Takes a name; the last argument says whether the screen is a terminal."""


def captured(action: Callable[[], object], terminal: bool, *, as_json: bool = False, lines: bool = False) -> Said:
    """Return what `action` prints."""
    out, err = Stream(terminal), Stream(terminal)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        action()
    return Said(out.text(), err.text(), as_json, lines)


def command(words: list[str], terminal: bool) -> Said:
    """Run one command in this process."""
    return captured(lambda: dispatch.run(words), terminal, as_json="--json" in words)
