"""What the user sees of several runs at once: a line for each seed, in place where the terminal can do that."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from rl2cli.reporting.figures import count, duration, significant
from rl2cli.reporting.plain import Lines
from rl2cli.reporting.view import has_cursor

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_ALWAYS = ("warning:", "error:", "hint:", "  -->")
"""How lines begin that a live table does not swallow."""
_NEXT = ("  rl2 ", "  tensorboard ", "hint: go on with:")
"""How lines begin that say what to do with one run; the group has lines of its own."""
WAITING = "waiting"


class SeedsView:
    """Shows what each seed's process says last; warnings and errors stay.

    Args:
        seeds: Of all runs.
        quiet: Show warnings and errors alone.
        plain: Draw nothing in place.
        stream: stderr where it is left out.
    """

    def __init__(
        self, seeds: Sequence[int], *, quiet: bool = False, plain: bool = False, stream: TextIO | None = None
    ) -> None:
        stream = sys.stderr if stream is None else stream
        self._lines = Lines(stream)
        self._quiet = quiet
        self._latest = dict.fromkeys(seeds, WAITING)
        self._live: Live | None = None
        if not quiet and not plain and has_cursor(stream):
            self._live = self._open(stream)

    def said(self, seed: int, line: str) -> None:
        """Show a line of a seed's process."""
        if not line.strip() or line.startswith(_NEXT):
            return
        if self._live is None:
            self._lines.write(f"seed {seed}  {line}")
        elif line.startswith(_ALWAYS):
            self._above(f"seed {seed}  {line}")
        elif line.startswith("frames "):
            self._show(seed, line)
        elif self._latest[seed] == WAITING:
            self._show(seed, "starting")

    def ended(self, seed: int, result: Mapping[str, Any], exit_code: int) -> None:
        """Show how a seed's run ended."""
        text = outcome(result, exit_code)
        if self._live is not None:
            self._show(seed, text)
        elif not self._quiet:
            self._lines.write(f"seed {seed}  {text}")

    def note(self, *lines: str) -> None:
        """Print lines that concern all seeds."""
        if not self._quiet:
            for line in lines:
                self._lines.write(line) if self._live is None else self._above(line)

    def close(self) -> None:
        """Leave the table as it is and give the cursor back."""
        for seed in [seed for seed, text in self._latest.items() if text == WAITING]:
            self._show(seed, "not started")
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _open(self, stream: TextIO) -> Live:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=stream, markup=False, highlight=False, emoji=False)
        live = Live(self._table(), console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        live.start(refresh=True)
        return live

    def _show(self, seed: int, text: str) -> None:
        self._latest[seed] = text
        if self._live is not None:
            self._live.update(self._table(), refresh=True)

    def _above(self, line: str) -> None:
        from rich.text import Text

        assert self._live is not None
        self._live.console.print(Text(self._lines.glyphs.clean(line)), soft_wrap=True)

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, min_width=max(len(f"seed {seed}") for seed in self._latest))
        table.add_column(no_wrap=True, overflow="ellipsis")
        for seed, text in self._latest.items():
            table.add_row(Text(f"seed {seed}"), Text(self._lines.glyphs.clean(text)))
        return table


def outcome(result: Mapping[str, Any], exit_code: int) -> str:
    """Return how a run ended, from what its process printed and its exit code."""
    frames, status = result.get("frames"), result.get("status")
    if not isinstance(frames, int) or not isinstance(status, str):
        return f"failed with exit code {exit_code}"
    text = f"{status} at {count(frames)} frames"
    seconds, best = result.get("wall_seconds"), result.get("best")
    if isinstance(seconds, float):
        text += f", {duration(seconds)}"
    if isinstance(best, dict) and isinstance(best.get("mean_return"), float):
        text += f", best {significant(best['mean_return'])}"
        if isinstance(best.get("frames"), int):
            text += f" at {count(best['frames'])}"
    return text
