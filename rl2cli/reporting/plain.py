"""The views without a cursor: one line of plain text every few seconds, or nothing."""

from __future__ import annotations

from typing import TextIO

from rl2cli.reporting.progress import Evaluation, Progress, RunFacts, Summary


class QuietView:
    """Says nothing but warnings."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def start(self, facts: RunFacts) -> None:
        """Say nothing."""

    def due(self) -> bool:
        """Return False, always."""
        return False

    def update(self, progress: Progress) -> None:
        """Say nothing."""

    def evaluated(self, evaluation: Evaluation, progress: Progress) -> None:
        """Say nothing."""

    def message(self, text: str, *, warning: bool = False) -> None:
        """Print `text` if it is a warning."""

    def stop(self, summary: Summary) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Do nothing."""


class PlainView(QuietView):
    """One plain line every few seconds, without control codes."""
