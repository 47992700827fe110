"""Text that came from data, made safe to print."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MOST_CHARACTERS = 8_000
"""Of a line that holds data: more would only push away what is said besides it."""
_MOST_MARKS = 8
"""Combining marks on one character; hundreds would cover the lines around it."""
_BLANK = "\u115f\u1160\u3164\uffa0"
"""Letters that show nothing."""
_UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control (C0, DEL, C1), format (bidirectional, zero-width), surrogates, line and paragraph separators."""


def printable(text: str, *, keep_newlines: bool = False) -> str:
    """Return `text` with each character that could move the cursor, hide or reorder text replaced, one for one.

    Tabs and newlines become spaces; with `keep_newlines` newlines stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_printable_characters(text, keep_newlines))


def shortened(text: str, limit: int) -> str:
    """Return `text` made printable, its end cut off behind `limit` characters."""
    return printable(text if len(text) <= limit else f"{text[: limit - 1]}…")


def display_width(text: str) -> int:
    """Return how many terminal columns `text` takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def _printable_characters(text: str, keep_newlines: bool) -> Iterator[str]:
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category[0] == "M" else 0
        if character in "\t\r\n":
            yield "\n" if character == "\n" and keep_newlines else " "
        elif category in _UNSAFE_CATEGORIES or marks > _MOST_MARKS or character in _BLANK:
            yield _REPLACEMENT
        else:
            yield character


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
