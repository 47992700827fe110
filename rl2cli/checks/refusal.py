"""Why a plugin is refused, in words, with its own lines and nobody else's."""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path

from rl2cli.errors import RL2Error

Frame = tuple[str, int, str, str]


class Refused(Exception):
    """A plugin that does not work; `frames` are its own lines as (file, line, function, source)."""

    def __init__(
        self, message: str, hint: str | None = None, frames: list[Frame] | None = None, *, missing: bool = False
    ) -> None:
        super().__init__(message)
        self.message, self.hint, self.frames, self.missing = message, hint, frames or [], missing


def explained(error: BaseException, doing: str, module: str, folder: str | None) -> Refused:
    """Return `error`, which came out of a plugin while `doing`, as a refusal with the plugin's frames."""
    if isinstance(error, RL2Error) and error.__cause__ is None:
        return Refused(error.message, error.hint, plugin_frames(error, module, folder))
    message = error.message if isinstance(error, RL2Error) else f"{doing} {type(error).__name__}: {error}"
    hint = error.hint if isinstance(error, RL2Error) else "mend it there, and try again"
    while error.__cause__ is not None and isinstance(error, RL2Error):
        error = error.__cause__
    if isinstance(error, SyntaxError) and error.filename:
        frame = (error.filename, error.lineno or 0, "", (error.text or "").strip())
        return Refused(f"{doing} {type(error).__name__}: {error.msg}", hint, [frame])
    return Refused(message, hint, plugin_frames(error, module, folder))


def plugin_frames(error: BaseException, module: str, folder: str | None) -> list[Frame]:
    """Return the lines of the plugin's own package and folder that `error` passed through, the innermost last."""
    package = module.partition(".")[0]
    found = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        name, file = str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename
        beside = folder is not None and Path(file).is_relative_to(folder) and "site-packages" not in Path(file).parts
        if name.partition(".")[0] == package or (beside and not name.startswith("rl2cli")):
            found.append((file, line, frame.f_code.co_name, linecache.getline(file, line).strip()))
    return found
