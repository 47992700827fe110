"""All error messages, in one snapshot; each one says what would be right."""

from __future__ import annotations

from pathlib import Path

from error_messages import NOTHING, messages, snapshot

WITHOUT_HINT = {("spec/extends.py", "_ring", "the ring goes on here")}
"""The ring's first problem, which is shown above it, has the hint for all of them."""


def test_the_snapshot_has_every_message() -> None:
    written = Path(__file__).with_name("errors.txt").read_text(encoding="utf-8")
    assert written == snapshot(), "python tests/error_messages.py > tests/errors.txt, and read what has changed"


def test_every_message_says_what_would_be_right() -> None:
    without = [
        each
        for each in messages()
        if (not each.hint or NOTHING in each.hint) and (each.file, each.function, *each.message) not in WITHOUT_HINT
    ]
    assert without == []


def test_every_message_is_a_phrase() -> None:
    for each in messages():
        assert each.message, each
        assert not any(text.endswith(".") for text in each.message), each
        assert not any(text.endswith(".") and not text.endswith("...") for text in each.hint), each
