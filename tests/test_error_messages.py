"""All error messages, in one snapshot; each one of a command, a spec or a plugin says what would be right."""

from __future__ import annotations

from pathlib import Path

from error_messages import messages, snapshot

HINTED = ("cli/", "spec/", "plugins/", "checks/", "registry.py", "trust.py", "durable.py")
LATER = {("spec/extends.py", "_ring"), ("spec/toml.py", "unusable_values"), ("spec/complaints.py", "_finding")}
"""The ring's first problem has the hint; the others' messages come from a check that names what it wants."""


def test_the_snapshot_has_every_message() -> None:
    written = Path(__file__).with_name("errors.txt").read_text(encoding="utf-8")
    assert written == snapshot(), "python tests/error_messages.py > tests/errors.txt, and read what has changed"


def test_every_message_says_what_would_be_right() -> None:
    without = [
        each
        for each in messages()
        if each.file.startswith(HINTED)
        and not each.hint
        and each.kind != "SpecError"  # holds problems, which have their own
        and (each.file, each.function) not in LATER
    ]
    assert without == []


def test_every_message_is_a_phrase() -> None:
    for each in messages():
        assert each.message, each
        assert not each.message.endswith("."), each
        assert not each.hint.endswith(".") or each.hint.endswith(("…", "...")), each
