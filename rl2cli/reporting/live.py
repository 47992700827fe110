"""The live view: a table on a terminal, drawn in place."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.text import Text

from rl2cli.reporting.board import Board, Drawing
from rl2cli.reporting.figures import glyphs_for
from rl2cli.reporting.progress import Clock, Evaluation, Progress, RunFacts, Summary
from rl2cli.reporting.refresh import Refresh
from rl2cli.reporting.summary import closing_lines, opening_lines

EVERY = 0.25
"""Least seconds between drawings."""


class LiveView:
    """Shows a run as a table that is drawn in place, without a thread and without leaving the screen's history.

    A terminal that is gone ends the drawing, not the run.
    """

    def __init__(
        self,
        stream: TextIO,
        no_color: bool = False,
        clock: Clock = time.perf_counter,
        console: Console | None = None,
    ) -> None:
        self._console = console or Console(
            file=stream, no_color=no_color or None, markup=False, highlight=False, emoji=False
        )
        self._glyphs = glyphs_for(self._console.encoding)
        self._refresh = Refresh(0.0, EVERY, clock)
        self._facts: RunFacts | None = None
        self._live: Live | None = None
        self._size = self._console.size
        self._progress: Progress | None = None
        self._evaluations: list[float] = []
        self.cost = 0.0
        """Seconds that the last drawing took."""

    def start(self, facts: RunFacts) -> None:
        """Print the facts and draw an empty table."""
        self._facts = facts
        atexit.register(self.close)  # gives the cursor back even where nobody calls `close`
        self._print(opening_lines(facts, self._glyphs))
        with self._terminal():
            self._open(facts)

    def due(self) -> bool:
        """Return whether it is time to draw again."""
        return self._refresh.due()

    def update(self, progress: Progress) -> None:
        """Draw `progress`."""
        self._progress = progress
        self._draw()

    def evaluated(self, evaluation: Evaluation, progress: Progress) -> None:
        """Keep the evaluation for its sparkline, and draw it if a drawing is due."""
        self._evaluations.append(evaluation.mean_return)
        self._progress = progress
        if self.due():
            self._draw()

    def message(self, text: str, *, warning: bool = False) -> None:
        """Print a note or a warning above the table."""
        self._print([f"warning: {text}" if warning else text], style="yellow" if warning else "")

    def stop(self, summary: Summary) -> None:
        """Leave the last table on the screen; print how the run ended and what to type next."""
        if self._progress is not None:
            self._progress = _at_end(self._progress, summary)
            self._draw()
        self.close()
        self._print(closing_lines(summary, self._glyphs))

    def close(self) -> None:
        """Stop drawing and show the cursor."""
        live, self._live = self._live, None
        atexit.unregister(self.close)
        if live is None:
            return
        live.transient = self._progress is None  # an empty table is taken away
        with contextlib.suppress(OSError):
            live.stop()

    def _draw(self) -> None:
        began = self._refresh.begin()
        with self._terminal():
            if self._live is not None and self._facts is not None:
                self._follow_resize(self._live, self._facts)
                self._live.update(self._board(self._facts), refresh=True)
        self.cost = self._refresh.done(began)

    def _open(self, facts: RunFacts) -> None:
        self._live = Live(
            self._board(facts),
            console=self._console,
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),  # stdout that goes elsewhere is data
            redirect_stderr=True,
        )
        self._live.start(refresh=True)

    def _board(self, facts: RunFacts) -> Drawing:
        board = Board(facts, self._glyphs, self._console.width, self._console.height - 1)
        return board.draw(self._progress, self._evaluations)

    def _follow_resize(self, live: Live, facts: RunFacts) -> None:
        """Begin on a clear screen where the terminal became smaller: it has wrapped the lines that were drawn."""
        before, self._size = self._size, self._console.size
        if self._size.width >= before.width and self._size.height >= before.height:
            return
        live.stop()
        self._console.control(Control.clear(), Control.home())
        self._print(opening_lines(facts, self._glyphs))
        self._open(facts)

    def _print(self, lines: Iterable[str], style: str = "") -> None:
        with self._terminal():
            for line in lines:
                self._console.print(Text(self._glyphs.clean(line), style=style), soft_wrap=True)

    @contextlib.contextmanager
    def _terminal(self) -> Iterator[None]:
        """Use the terminal; if it is gone, close the view and carry on."""
        try:
            yield
        except OSError:
            self.close()


def _at_end(progress: Progress, summary: Summary) -> Progress:
    return dataclasses.replace(
        progress,
        frames=summary.frames,
        wall_seconds=summary.wall_seconds,
        frames_per_second_mean=summary.frames_per_second,
        eta_seconds=None,
        evaluation=summary.evaluation or progress.evaluation,
        best=summary.best or progress.best,
    )
