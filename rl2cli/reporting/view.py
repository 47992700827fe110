"""The views of a run: what the Trainer talks to, and which one fits the terminal."""

from __future__ import annotations

import os
import sys
from typing import Literal, Protocol, TextIO

from rl2cli.reporting.plain import PlainView, QuietView
from rl2cli.reporting.progress import Evaluation, Progress, RunFacts, Summary

ViewMode = Literal["auto", "live", "plain", "quiet", "json"]


class View(Protocol):
    """Shows one run to its user.

    The Trainer calls `start` once, then `due` in every iteration and `update` where that is true, then `stop`.
    Whoever made the view calls `close` in a `finally`.
    """

    def start(self, facts: RunFacts) -> None:
        """Show what is known before the first frame."""

    def due(self) -> bool:
        """Return whether it is time for an `update`; costs a look at the clock."""

    def update(self, progress: Progress) -> None:
        """Show `progress`."""

    def evaluated(self, evaluation: Evaluation, progress: Progress) -> None:
        """Show a new evaluation."""

    def message(self, text: str, *, warning: bool = False) -> None:
        """Show a note, or a warning that a quiet view shows too."""

    def stop(self, summary: Summary) -> None:
        """Show how the run ended; a last `update` before it makes the final numbers complete."""

    def close(self) -> None:
        """Give the terminal back, whatever happened; may be called twice and without `start`."""


def make_view(mode: ViewMode = "auto", stream: TextIO | None = None, no_color: bool = False) -> View:
    """Return the view for `mode` on `stream`, which is stderr where it is left out.

    `live` needs a terminal that can move its cursor: elsewhere it is `plain`, which is also what `json` shows, so
    that stdout stays free for data. `auto` is `live`.
    """
    stream = sys.stderr if stream is None else stream
    if mode == "quiet":
        return QuietView(stream)
    if mode in ("plain", "json") or not has_cursor(stream):
        return PlainView(stream)
    from rl2cli.reporting.live import LiveView  # imports rich only where it is shown

    return LiveView(stream, no_color=no_color)


def has_cursor(stream: TextIO) -> bool:
    """Return whether `stream` is a terminal that can draw in place."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
