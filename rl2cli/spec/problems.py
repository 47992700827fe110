"""What is wrong with a run spec: every problem at once, each with its place, readable without colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rl2cli.errors import UsageError
from rl2cli.text import MOST_CHARACTERS, display_width, printable, shortened

MAX_PROBLEMS = 50
"""More than these are counted, not shown."""

_CONTEXT = 60
"""Characters of a source line shown before and behind its caret."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where. Its strings may hold anything; `render` makes them safe to print."""

    message: str
    hint: str | None = None
    file: str = ""
    """Path of the spec, or `command line`; empty for a spec given as a dict."""
    key: str = ""
    """Dotted name of the setting; empty where no setting is to blame."""
    line: int | None = None
    """1-based; None on the command line and in a dict."""
    column: int | None = None
    """1-based, in characters of `source`."""
    end_column: int | None = None
    """Column behind the last character at fault."""
    source: str | None = None
    """The whole source line."""

    @property
    def place(self) -> str:
        """Where: `file:line:column`, else what there is of file and key."""
        if self.line is not None:
            return f"{self.file}:{self.line}:{self.column or 1}"
        return self.file or self.key or "the spec"

    def render(self) -> str:
        """Return the problem as plain text: message, place, source line, caret, hint."""
        lines = [
            f"error: {shortened(self.message, MOST_CHARACTERS)}",
            f"  --> {shortened(self.place, MOST_CHARACTERS)}",
            *self._excerpt(),
        ]
        if self.hint is not None:
            lines += ["", f"hint: {shortened(self.hint, MOST_CHARACTERS)}"]
        return "\n".join(lines)

    def _excerpt(self) -> list[str]:
        if self.source is None or self.column is None:
            return []
        number = "" if self.line is None else str(self.line)
        margin = " " * max(2, len(number))
        shown, indent, carets = _cut(self.source, self.column - 1, (self.end_column or self.column + 1) - 1)
        return [f"{margin} |", f"{number:>{len(margin)}} | {shown}", f"{margin} | {' ' * indent}{'^' * carets}"]


class SpecError(UsageError):
    """A run spec cannot be used; `problems` holds everything that is wrong with it, in reading order."""

    def __init__(self, problems: Sequence[Problem], *, omitted: int = 0) -> None:
        """Take the problems that are shown, and how many more there are."""
        self.problems = tuple(problems)
        self.omitted = omitted
        first = self.problems[0]
        count = len(self.problems) + omitted
        message = first.message if count == 1 else f"{count} problems in the run spec, the first: {first.message}"
        super().__init__(message, hint=first.hint, place=first.place)

    def render(self) -> str:
        """Return every problem as plain text, an empty line between two."""
        texts = [problem.render() for problem in self.problems]
        if self.omitted:
            texts.append(f"and {self.omitted} more")
        return "\n\n".join(texts)

    def __str__(self) -> str:
        return self.render()


def _cut(source: str, start: int, end: int) -> tuple[str, int, int]:
    """Return the part of `source` around characters `start` to `end`, and the caret's indent and length in columns."""
    end = max(end, start + 1)
    first, last = max(0, start - _CONTEXT), min(len(source), max(start + _CONTEXT, min(end, start + 2 * _CONTEXT)))
    before, marked = printable(source[first:start]), printable(source[start : min(end, last)])
    behind = printable(source[min(end, last) : last])
    prefix, suffix = "…" if first > 0 else "", "…" if last < len(source) else ""
    shown = f"{prefix}{before}{marked}{behind}".rstrip() + suffix
    return shown, display_width(prefix + before), max(1, display_width(marked))
