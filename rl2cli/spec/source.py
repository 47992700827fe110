"""The texts that settings come from, a file or an argument, and problems that point into them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rl2cli.spec.locate import Locations, Path, Span
from rl2cli.spec.problems import Problem

COMMAND_LINE = "command line"

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Finding:
    """A problem with the setting `path`, not yet placed in a text."""

    path: Path
    message: str
    hint: str | None = None
    at_key: bool = False
    """Blame the key rather than its value."""


@dataclass(frozen=True)
class Source:
    """TOML text and what to call it."""

    name: str
    """Path of the file, or what an argument is preceded by, such as `--set`."""
    text: str
    is_argument: bool = False

    @cached_property
    def locations(self) -> Locations:
        """Where each key stands; only of a text that tomli has accepted."""
        return Locations(self.text)

    def problem(self, message: str, *, hint: str | None = None, span: Span | None = None, key: str = "") -> Problem:
        """Return a problem at `span`, or at the whole first line."""
        lines = self.text.split("\n", span.line if span else 1)
        line = lines[(span.line if span else 1) - 1].removesuffix("\r")
        column, end = (span.column, span.end_column) if span else (1, len(line) + 1)
        if not self.is_argument:
            return Problem(message, hint, self.name, key, span.line if span else 1, column, end, line)
        shift = len(self.name) + 1
        return Problem(message, hint, COMMAND_LINE, key, None, column + shift, end + shift, f"{self.name} {line}")

    def place(self, finding: Finding) -> Problem:
        """Return `finding` with the place of its key or value, of the nearest table around it, or of the first line."""
        key = dotted(finding.path)
        span = None if finding.at_key else self.locations.value(finding.path)
        path = finding.path
        while span is None and path:
            span = self.locations.key(path)
            path = path[:-1]
        return self.problem(finding.message, hint=finding.hint, span=span, key=key)


def dotted(path: Sequence[str | int]) -> str:
    """Return `path` as a dotted TOML key, array indices in brackets."""
    text = ""
    for name in path:
        if isinstance(name, int):
            text += f"[{name}]"
        else:
            text += ("." if text else "") + (name if _BARE_KEY.fullmatch(name) else f'"{name}"')
    return text
