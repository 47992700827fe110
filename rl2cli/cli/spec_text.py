"""What a spec's text says of itself."""

from __future__ import annotations


def opening_comment(text: str) -> str:
    """Return the first comment of a spec that is a sentence, not an editor's directive."""
    lines = (line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    return next((line for line in lines if line and not line.startswith(":")), "")
