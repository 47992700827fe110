"""A simulator's start: its own chatter kept out of the way, and a word now and then while it takes long."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout

from rl2cli.command import current
from rl2cli.errors import EnvironmentFault, RL2Error
from rl2cli.text import printable

PATIENCE = 8.0
"""Seconds without a word."""
_WORDS = "the simulator starts; the first time it compiles its kernels, which it then keeps"


@contextlib.contextmanager
def chatter_kept(lines: int = 12) -> Iterator[None]:
    """Keep what the block, foreign code in it included, writes to stdout and stderr.

    The end of it is shown where the block fails by something else than what rl2 puts into words.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        text = io.TextIOWrapper(kept, "utf-8", "replace", write_through=True)
        try:
            with (
                _Streams(kept.fileno()) as streams,
                _told(streams.stderr),
                redirect_stdout(text),
                redirect_stderr(text),
            ):
                yield
        except RL2Error:
            raise
        except SystemExit as end:  # without this the command would end without a word
            text.flush()
            sys.stderr.write(_tail(kept.fileno(), lines))
            raise EnvironmentFault(
                f"the simulator wanted to end the program, with exit code {end.code}",
                hint="what it said last stands above",
            ) from end
        except Exception:
            text.flush()
            sys.stderr.write(_tail(kept.fileno(), lines))
            raise


@contextlib.contextmanager
def _told(stderr: int) -> Iterator[None]:
    done = threading.Event()
    teller = threading.Thread(target=_tell, args=(stderr, done), name="rl2-isaac-start", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def divert_foreign_stdout() -> None:
    """Let what foreign code writes to stdout go to stderr from now on: PhysX warns there, and stdout carries data."""
    try:
        is_descriptor = sys.stdout.fileno() == 1
    except (AttributeError, OSError, ValueError):  # a program's own stream
        return
    if not is_descriptor:
        return
    sys.stdout.flush()
    buffering = 1 if sys.stdout.isatty() else -1
    own = os.fdopen(os.dup(1), "w", buffering, encoding=sys.stdout.encoding, errors=sys.stdout.errors)
    os.dup2(2, 1)
    sys.stdout = own


class _Streams:
    """Descriptors 1 and 2, sent elsewhere for a while."""

    def __init__(self, into: int) -> None:
        self._into = into

    def __enter__(self) -> _Streams:
        self.stdout, self.stderr = os.dup(1), os.dup(2)
        os.dup2(self._into, 1)
        os.dup2(self._into, 2)
        return self

    def __exit__(self, *error: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(self.stdout, 1)
        os.dup2(self.stderr, 2)
        os.close(self.stdout)
        os.close(self.stderr)


def _tell(stderr: int, done: threading.Event) -> None:
    """Say that it goes on, where somebody reads it: to a command's own stderr."""
    if current() is None:
        return
    began, pause = time.monotonic(), PATIENCE
    while not done.wait(pause):
        with contextlib.suppress(OSError):
            os.write(stderr, f"{_WORDS} ({time.monotonic() - began:.0f} s)\n".encode())
        pause *= 1.5


def _tail(file: int, lines: int) -> str:
    size = os.lseek(file, 0, os.SEEK_END)
    os.lseek(file, max(0, size - 4000), os.SEEK_SET)
    text = os.read(file, 4000).decode("utf-8", "replace")
    return "".join(f"{printable(line)}\n" for line in text.splitlines()[-lines:])
