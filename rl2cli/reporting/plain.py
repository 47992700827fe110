"""The views without a cursor: one line of plain text every few seconds, or warnings alone."""

from __future__ import annotations

import time
from typing import TextIO

from rl2cli.reporting.figures import count, eta, glyphs_for, mean_and_interval, percent, rate, significant
from rl2cli.reporting.progress import Clock, Evaluation, Progress, Replay, RunFacts, Summary
from rl2cli.reporting.refresh import Refresh
from rl2cli.reporting.summary import closing_lines, evaluation_text, opening_lines

FIRST_LINE = 2.0
"""Seconds until the first line of progress."""
EVERY_LINE = 5.0
"""Seconds between lines of progress."""


class QuietView:
    """Says nothing but warnings."""

    def __init__(self, stream: TextIO) -> None:
        self._lines = Lines(stream)

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
        if warning:
            self._lines.write(f"warning: {text}")

    def stop(self, summary: Summary) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Do nothing: no terminal was taken."""


class PlainView:
    """Says one plain line every few seconds, without control codes."""

    def __init__(self, stream: TextIO, clock: Clock = time.perf_counter) -> None:
        self._lines = Lines(stream)
        self._refresh = Refresh(FIRST_LINE, EVERY_LINE, clock)

    def start(self, facts: RunFacts) -> None:
        """Print the facts."""
        self._lines.write(*opening_lines(facts, self._lines.glyphs))

    def due(self) -> bool:
        """Return whether it is time for the next line."""
        return self._refresh.due()

    def update(self, progress: Progress) -> None:
        """Print a line of progress."""
        began = self._refresh.begin()
        self._lines.write(self._line(progress))
        self._refresh.done(began)

    def evaluated(self, evaluation: Evaluation, progress: Progress) -> None:
        """Print a line for an evaluation."""
        text = evaluation_text(evaluation, self._lines.glyphs)
        best = ", best so far" if evaluation.is_best else ""
        self._lines.write(f"evaluation at {count(evaluation.frames)}  {text}{best}")

    def message(self, text: str, *, warning: bool = False) -> None:
        """Print a note or a warning."""
        self._lines.write(f"warning: {text}" if warning else text)

    def stop(self, summary: Summary) -> None:
        """Print how the run ended and what to type next."""
        self._lines.write(*closing_lines(summary, self._lines.glyphs))

    def close(self) -> None:
        """Do nothing: no terminal was taken."""

    def _line(self, progress: Progress) -> str:
        fields = [
            f"frames {count(progress.frames)} / {count(progress.total_frames)}",
            percent(progress.frames, progress.total_frames),
            f"{rate(progress.frames_per_second_now)} frames/s",
        ]
        if progress.eta_seconds is not None:
            fields.append(f"eta {eta(progress.eta_seconds)}")
        if progress.return_mean is not None:
            fields.append(f"return {significant(progress.return_mean)}")
        if progress.length_mean is not None:
            fields.append(f"length {significant(progress.length_mean)}")
        if progress.evaluation is not None:
            evaluated = mean_and_interval(progress.evaluation, self._lines.glyphs)
            fields.append(f"evaluation {evaluated} ({count(progress.evaluation.episodes)})")
        replay = Replay.of(progress.metrics)
        if replay is not None:
            fullness = f"{count(replay.size)} of {count(replay.capacity)} ({percent(replay.size, replay.capacity)})"
            fields.append(f"replay {fullness}, {replay.updates_per_frame:.2f} updates per frame")
        if progress.workers:
            alive, lost = (sum(getattr(each, name) for each in progress.workers) for name in ("is_alive", "restarts"))
            fields.append(f"workers {count(alive)} of {count(len(progress.workers))}, {count(lost)} lost")
        return "  ".join(fields)


class Lines:
    """Writes plain lines to a stream; one that is gone ends the talk, not the run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_open = True
        self.glyphs = glyphs_for(stream.encoding)

    def write(self, *lines: str) -> None:
        """Write `lines`, each made printable, and flush."""
        if not self._is_open:
            return
        try:
            self._stream.write("".join(f"{self.glyphs.clean(line)}\n" for line in lines))
            self._stream.flush()
        except OSError:  # the reader of the pipe or the terminal has gone
            self._is_open = False
