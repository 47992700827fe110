"""What `rl2 infer` was asked for, checked before anything is loaded."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

from rl2cli.cli.parameters import require_checkpoint_name
from rl2cli.durable import require_new_file
from rl2cli.errors import UsageError, suggestion
from rl2cli.reporting.recording import FORMATS, VIEWS, Grid, Recording, Watching, is_file_name

MODES = ("benchmark", "watch", "record")
_MOST_CELLS = 64


class How(NamedTuple):
    """The options of `rl2 infer` that depend on each other, as they were given."""

    mode: str
    record_video: bool
    checkpoint: str
    episodes: int | None
    format: str | None
    grid: str | None
    overlay: bool
    fps: float | None
    out: Path | None
    view: str


def checked(how: How) -> tuple[str, Recording, Watching]:
    """Return the mode, what videos are to be like, and where to watch.

    Raises:
        UsageError: An option is wrong, or belongs to another mode.
    """
    mode = _mode(how)
    _require_belonging(how, mode)
    require_checkpoint_name(how.checkpoint)
    if how.episodes is not None and how.episodes < 1:
        raise UsageError(
            f"--episodes takes a number of at least 1, got {how.episodes}", hint="left out, it suits the mode"
        )
    if how.fps is not None and not (math.isfinite(how.fps) and 0.1 <= how.fps <= 1000):
        raise UsageError(
            f"--fps takes a number from 0.1 to 1000, got {how.fps:g}", hint="left out, it is the environment's own"
        )
    recording, view = _views(how, mode)
    if mode == "benchmark" and how.out is not None:
        require_new_file(how.out)
    if mode == "record":
        recording.require_target(how.episodes or recording.grid.cells)
    return mode, recording, view


def _mode(how: How) -> str:
    if how.mode not in MODES:
        raise UsageError(
            f"unknown mode {how.mode!r}", hint=suggestion(how.mode, MODES) or f"there are: {', '.join(MODES)}"
        )
    if how.record_video and how.mode == "watch":
        raise UsageError("--record-video and --mode watch are two modes", hint="give one of them")
    return "record" if how.record_video else how.mode


def _require_belonging(how: How, mode: str) -> None:
    """Refuse an option that would have no effect in this mode.

    Raises:
        UsageError: There is one.
    """
    given = {
        "--format": (how.format is not None, ("record",)),
        "--grid": (how.grid is not None, ("record",)),
        "--no-overlay": (not how.overlay, ("record",)),
        "--out": (how.out is not None, ("benchmark", "record")),
        "--fps": (how.fps is not None, ("record", "watch")),
        "--view": (how.view != "auto", ("watch",)),
    }
    for option, (is_given, modes) in given.items():
        if is_given and mode not in modes:
            raise UsageError(
                f"{option} does nothing with --mode {mode}", hint=f"it is for --mode {' and '.join(modes)}"
            )


def _views(how: How, mode: str) -> tuple[Recording, Watching]:
    by_name = how.out.suffix.lower()[1:] if how.out is not None and is_file_name(how.out) else "mp4"
    name = how.format or (by_name if mode == "record" else "mp4")
    chosen = next((known for known in FORMATS if known == name), None)
    if chosen is None:
        raise UsageError(
            f"--format takes {' or '.join(FORMATS)}, got {name!r}",
            hint=suggestion(name, FORMATS) or "left out, it is mp4",
        )
    view = next((known for known in VIEWS if known == how.view), None)
    if view is None:
        raise UsageError(
            f"--view takes {', '.join(VIEWS)}, got {how.view!r}",
            hint=suggestion(how.view, VIEWS) or "left out, it is auto",
        )
    rows, columns = _grid(how.grid)
    return Recording(chosen, Grid(rows, columns), how.overlay, how.fps, how.out), view


def _grid(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    found = re.fullmatch(r"(\d{1,2})[x×](\d{1,2})", text.lower(), re.ASCII)
    rows, columns = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= rows * columns <= _MOST_CELLS:
        raise UsageError(
            f"--grid takes rows x columns, as 2x2, at most {_MOST_CELLS} in all; got {text!r}",
            hint="for example --grid 2x3",
        )
    return rows, columns
