"""Pictures in a terminal: each cell is an upper half block, one colour above, one below."""

from __future__ import annotations

import os
import shutil
import sys
from types import TracebackType
from typing import Literal, TextIO

import numpy as np
from PIL import Image

from rl2cli.errors import UsageError
from rl2cli.reporting.picture import as_rgb
from rl2cli.text import display_width, shortened

Colours = Literal["24 bits", "256", "none"]
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[0m\x1b[?25h\x1b[?1049l"
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"  # what lies between is shown at once, where the terminal can
_SHADES = " .:-=+*#%@"
_CUBE = np.array([0, 95, 135, 175, 215, 255])
"""Levels of the 6 x 6 x 6 colours of a terminal with 256."""


class TerminalScreen:
    """Shows pictures in the whole of a terminal, and a line under them, within `with`; it leaves nothing behind.

    Follows the terminal's size and sends only the lines that changed.

    Args:
        stream: The terminal.

    Raises:
        UsageError: `stream` is no terminal, or one that cannot move its cursor.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        if not self._stream.isatty() or os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
            raise UsageError(
                "there is no terminal to draw in", hint="without one, --mode record makes a video to look at"
            )
        self._colours = terminal_colours()
        self._half_blocks = (self._stream.encoding or "").lower().startswith("utf")
        self._shown: list[str] = []
        self._size = (0, 0)

    def show(self, picture: np.ndarray, status: str) -> None:
        """Show a picture and a line of text in place of the last ones."""
        columns, lines = self._terminal_size()
        pictured = picture_lines(as_rgb(picture), columns, lines - 1, self._colours, self._half_blocks)
        wanted = [*pictured, *[""] * (lines - 1 - len(pictured)), _cut(status, columns - 1)]
        fresh = (columns, lines) != self._size
        changed = [
            f"\x1b[{number};1H{line}\x1b[0m\x1b[K"
            for number, line in enumerate(wanted, 1)
            if fresh or self._shown[number - 1] != line
        ]
        self._write(_BEGIN + ("\x1b[2J" if fresh else "") + "".join(changed) + _END)
        self._shown, self._size = wanted, (columns, lines)

    def __enter__(self) -> TerminalScreen:
        if os.name == "nt":
            os.system("")  # lets older consoles of Windows understand what follows
        self._write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(_LEAVE)

    def _terminal_size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError, AttributeError):
            size = shutil.get_terminal_size()
        return max(size.columns, 2), max(size.lines, 2)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def terminal_colours() -> Colours:
    """Return how many colours this terminal says that it has; none where the user wants none."""
    if os.environ.get("NO_COLOR"):
        return "none"
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") or os.environ.get("WT_SESSION"):
        return "24 bits"
    return "256"


def picture_lines(picture: np.ndarray, columns: int, lines: int, colours: Colours, half_blocks: bool) -> list[str]:
    """Return a picture as lines of text that fit into `columns` and `lines`, centred, in its proportions.

    Args:
        picture: [height, width, 3] uint8.
        columns: Of the terminal.
        lines: Of the terminal; a cell is taken to be twice as high as wide.
        colours: What the terminal has.
        half_blocks: Whether it can show `▀`.
    """
    height, width = picture.shape[:2]
    scale = min(columns / width, 2 * lines / height)
    across, rows = max(1, int(width * scale)), max(1, int(height * scale / 2))
    in_cells = half_blocks and colours != "none"
    method = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BOX
    small = np.asarray(Image.fromarray(picture).resize((across, 2 * rows if in_cells else rows), method))
    margin = " " * ((columns - across) // 2)
    if colours == "none":
        shades = (small @ np.array([0.299, 0.587, 0.114]) * (len(_SHADES) / 256)).astype(int)
        return [margin + "".join(_SHADES[shade] for shade in row) for row in shades]
    codes = _codes(small, colours)
    if not half_blocks:
        return [margin + _painted([("", below) for below in row], " ") for row in codes]
    pairs = zip(codes[::2], codes[1::2], strict=True)
    return [margin + _painted(list(zip(above, below, strict=True)), "▀") for above, below in pairs]


def _codes(pixels: np.ndarray, colours: Colours) -> list[list[str]]:
    """Return what follows `38;` or `48;` for each pixel of [rows, columns, 3]."""
    if colours == "24 bits":
        return [[f"2;{red};{green};{blue}" for red, green, blue in row] for row in pixels.tolist()]
    return [[f"5;{number}" for number in row] for row in _of_256(pixels.astype(int)).tolist()]


def _of_256(pixels: np.ndarray) -> np.ndarray:
    """Return the nearest of a terminal's 256 colours, [rows, columns]: of the cube, or of the 24 grays."""
    cube = np.abs(pixels[..., None] - _CUBE).argmin(-1)  # [rows, columns, 3]
    gray = np.clip((pixels.mean(-1) - 3) // 10, 0, 23).astype(int)
    off_cube = np.square(_CUBE[cube] - pixels).sum(-1)
    off_gray = np.square((8 + 10 * gray)[..., None] - pixels).sum(-1)
    numbers: np.ndarray = np.where(off_gray < off_cube, 232 + gray, 16 + cube @ np.array([36, 6, 1]))
    return numbers


def _painted(cells: list[tuple[str, str]], glyph: str) -> str:
    """Return a line of cells (colour above, colour below); a colour is sent only where it changes."""
    parts: list[str] = []
    last_above = last_below = ""
    for above, below in cells:
        wanted = [f"38;{above}"] if above != last_above else []
        wanted += [f"48;{below}"] if below != last_below else []
        parts.append(f"\x1b[{';'.join(wanted)}m{glyph}" if wanted else glyph)
        last_above, last_below = above, below
    return "".join(parts)


def _cut(text: str, columns: int) -> str:
    text = shortened(text, 4 * columns)  # of which some may be combining marks, which take no column
    while display_width(text) > columns:
        text = text[:-1]
    return text
