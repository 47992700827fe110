"""Text that came from data, made safe to print."""

from __future__ import annotations

import unicodedata

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control (C0, DEL, C1), format (bidirectional, zero-width), surrogates, line and paragraph separators."""


def printable(text: str, *, keep_newlines: bool = False) -> str:
    """Return `text` with each character that could move the cursor, hide or reorder text replaced, one for one.

    Tabs and newlines become spaces; with `keep_newlines` newlines stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_printable_character(character, keep_newlines) for character in text)


def shortened(text: str, limit: int) -> str:
    """Return `text` made printable, its end cut off behind `limit` characters."""
    return printable(text if len(text) <= limit else f"{text[: limit - 1]}…")


def display_width(text: str) -> int:
    """Return how many terminal columns `text` takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def _printable_character(character: str, keep_newlines: bool) -> str:
    if character in "\t\r\n":
        return "\n" if character == "\n" and keep_newlines else " "
    return _REPLACEMENT if unicodedata.category(character) in _UNSAFE_CATEGORIES else character


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
