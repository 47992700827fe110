"""Exceptions → words on stderr and the exit code; readable without colour, a traceback only where it helps."""

from __future__ import annotations

import errno
import linecache
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from rl2cli.cli.output import CYAN, RED, StdoutClosedError, coloured, emit_json, say
from rl2cli.errors import RL2Error, Stopped, StorageError, UsageError
from rl2cli.text import MOST_CHARACTERS, printable, shortened
from rl2cli.trust import is_allowed

_DISK = {errno.ENOSPC, errno.EROFS, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}
_PATHS = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM}
"""What is wrong with a path that somebody named, or with what is there."""
_LIBRARIES = {"rl2cli", "torch", "gymnasium", "numpy", "pydantic", "typer", "click", "tensordict", "torchrl", "tomli"}
_LIBRARIES |= {
    "rich",
    "safetensors",
    "filelock",
    "tensorboard",
    "ale_py",
    "Box2D",
    "pygame",
    "mujoco",
    "moviepy",
    "matplotlib",
}
"""Packages whose frames are no plugin's; the standard library's are not either."""


def report(error: Exception, *, debug: bool = False, as_json: bool = False) -> int:
    """Explain `error` on stderr, and on stdout too where JSON was asked for; return the exit code."""
    frames = _plugin_frames(error)
    known = _known(error) or (_of_plugin(error) if frames else None)
    if debug or known is None:
        say(printable("".join(traceback.format_exception(error)), keep_newlines=True))
    shown = known or _bug(error)
    explain(shown, frames)
    if as_json:
        answer = {"message": shown.message, "place": shown.place, "hint": shown.hint}
        with suppress(StdoutClosedError):
            emit_json({**_summary(shown), "error": answer, "exit_code": shown.exit_code})
    return shown.exit_code


def explain(error: RL2Error, frames: Sequence[_Frame] = ()) -> None:
    """Print `error` on stderr: what is wrong, where, the plugin's own lines, what would be right."""
    render = getattr(error, "render", None)  # a spec's problems bring their source lines
    text = "\n".join([render(), *_shown(frames)]) if callable(render) else _plain(error, frames)
    say("\n".join(_with_colour(line) for line in text.split("\n")))


def _summary(error: RL2Error) -> dict[str, object]:
    """Return what a stopped run still has to report: its folder, frames and evaluations."""
    return dict(error.summary) if isinstance(error, Stopped) else {}


def _known(error: Exception) -> RL2Error | None:
    """Return `error` as one that has an explanation of its own, or None."""
    if isinstance(error, RL2Error):
        return error
    if isinstance(error, OSError) and error.errno in _DISK:
        return StorageError(
            f"the disk refused: {error.strerror}",
            hint="free some space, or choose another disk; what was saved before is intact",
            place=error.filename and str(error.filename),
        )
    if isinstance(error, OSError) and error.errno in _PATHS and error.filename is not None:
        return UsageError(
            f"this path cannot be used: {error.strerror}",
            hint="choose a shorter or another name",
            place=str(error.filename),
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return RL2Error(
            f"out of memory: {error}",
            hint="a smaller replay buffer, fewer environments, shorter rollouts or smaller minibatches",
        )
    return None


def _of_plugin(error: Exception) -> RL2Error:
    return RL2Error(
        f"a plugin raised {type(error).__name__}: {error}",
        hint="the last of its lines above is where; --debug shows all",
    )


def _bug(error: Exception) -> RL2Error:
    return RL2Error(
        f"rl2 did not expect {type(error).__name__}: {error}",
        hint="this is a bug in rl2; please report it with the lines above",
    )


def _plain(error: RL2Error, frames: Sequence[_Frame]) -> str:
    mark = "" if isinstance(error, Stopped) else "error: "  # the user wanted it to stop
    lines = [f"{mark}{shortened(error.message, MOST_CHARACTERS)}"]
    lines += [f"  --> {shortened(error.place, MOST_CHARACTERS)}"] if error.place else []
    lines += _shown(frames)
    lines += ["", f"hint: {shortened(error.hint, MOST_CHARACTERS)}"] if error.hint else []
    return "\n".join(lines)


def _shown(frames: Sequence[_Frame]) -> list[str]:
    return ["", *(line for frame in frames for line in frame.lines())] if frames else []


def _with_colour(line: str) -> str:
    for mark, colour in (("error:", RED), ("hint:", CYAN)):
        if line.startswith(mark):
            return coloured(mark, colour) + line.removeprefix(mark)
    return line


class _Frame(NamedTuple):
    """A line of code that an exception passed through."""

    module: str
    file: str
    line: int
    function: str

    def lines(self) -> list[str]:
        """Return the place and its source."""
        file = Path(self.file)
        shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
        source = ""
        with suppress(ValueError):  # no file has such a name
            source = linecache.getline(self.file, self.line).strip()
        place = shortened(f"  {shown}:{self.line} in {self.function}", MOST_CHARACTERS)
        return [place, f"    {shortened(source, MOST_CHARACTERS)}"] if source else [place]


def _plugin_frames(error: Exception) -> list[_Frame]:
    """Return a plugin's own frames in the exception behind `error`, innermost last; none where it is not a plugin's.

    What rl2 explains itself has its cause in a plugin where frames of neither rl2 nor a library are in it; anything
    else is a plugin's only if it passed through a module that the user let in.
    """
    if not isinstance(error, RL2Error):
        return [frame for frame in _frames(error) if is_allowed(frame.module)]
    recorded = getattr(error, "frames", None)  # those of another process
    if recorded is not None:
        return [_Frame("", file, line, function) for file, line, function, _ in recorded]
    if error.__cause__ is None:
        return []
    return [frame for frame in _frames(error.__cause__) if not _is_library(frame.module)]


def _frames(error: BaseException) -> list[_Frame]:
    while error.__cause__ is not None:
        error = error.__cause__
    return [
        _Frame(str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename, line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]


def _is_library(module: str) -> bool:
    package = module.partition(".")[0]
    return package in _LIBRARIES or package in sys.stdlib_module_names or package == "__main__"
