"""Where words go: data to stdout, talk to stderr, colour only where a person sees it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterable
from typing import TextIO

from rl2cli.text import MOST_CHARACTERS, printable, shortened

RED, CYAN = "31;1", "36"


class StdoutClosedError(Exception):
    """Nobody reads stdout any more."""


def emit(text: str) -> None:
    """Print data on stdout; newlines in it stay, everything else that could disturb a terminal does not.

    Raises:
        StdoutClosedError: its reader has gone.
    """
    try:
        print(printable(text, keep_newlines=True))
    except BrokenPipeError as error:
        raise StdoutClosedError from error


def emit_lines(lines: Iterable[str]) -> None:
    """Print data on stdout, each as one line of at most `MOST_CHARACTERS`, whatever it holds.

    Raises:
        StdoutClosedError: its reader has gone.
    """
    emit("\n".join(shortened(line, MOST_CHARACTERS) for line in lines))


def emit_json(value: object) -> None:
    """Print one JSON object on stdout.

    Raises:
        StdoutClosedError: its reader has gone.
    """
    emit(as_json_text(value))


def as_json_text(value: object) -> str:
    """Return `value` as the text of one JSON object."""
    import json

    return json.dumps(value, indent=2, default=str, allow_nan=False)


def flush() -> None:
    """Hand everything printed so far to the reader of stdout.

    Raises:
        StdoutClosedError: its reader has gone.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError as error:
        raise StdoutClosedError from error


def flush_all() -> None:
    """Hand on everything printed so far, as far as anybody takes it."""
    try:
        flush()
    except (StdoutClosedError, OSError):
        abandon_stdout()
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def abandon_stdout() -> None:
    """Send what is left of stdout nowhere, so that Python says nothing about it when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Print talk on stderr; where that is gone, nothing."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Print a line of talk that may hold data."""
    say(shortened(text, MOST_CHARACTERS))


def coloured(text: str, code: str) -> str:
    """Return `text` in a colour for stderr, where that is a terminal whose user has not said NO_COLOR."""
    return f"\x1b[{code}m{text}\x1b[0m" if _has_colour(sys.stderr) else text


def without_colour() -> bool:
    """Return whether the user has set NO_COLOR."""
    return bool(os.environ.get("NO_COLOR"))


def be_lenient() -> None:
    """Let stdout and stderr replace characters that they cannot encode."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _has_colour(stream: TextIO | None) -> bool:
    if stream is None or not stream.isatty() or without_colour():
        return False
    if os.name == "nt":
        return "WT_SESSION" in os.environ  # older consoles would print the codes
    return os.environ.get("TERM", "").lower() not in ("", "dumb", "unknown")
