"""SIGINT and SIGTERM ask a run to stop after it has saved; a second one leaves at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from rl2cli.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 5.0
"""Of several learners: whoever stops all processes of a run does so to torchrun too, which then sends each the same."""


class StopRequest:
    """Within `with StopRequest() as stop`, the first signal sets `stop.signal_number`; the next one acts as before.

    Outside the main thread, where Python takes no signals, it never stops anything.

    Args:
        hint: What to do after a signal that came when nothing was to be saved; see `at_once`.
        echo_seconds: For so long after the first signal, further ones are taken for the same.
    """

    def __init__(self, hint: str | None = None, echo_seconds: float = 0.0) -> None:
        self.signal_number: int | None = None
        self.at_once = hint is not None
        """Whether there is nothing to save yet, so that a signal raises `Interrupted` there and then."""
        self._hint = hint
        self._echo_seconds = echo_seconds
        self._first = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if self.signal_number is not None and now - self._first < self._echo_seconds:
            return
        repeated, self.signal_number, self._first = self.signal_number is not None, number, now
        if repeated or not self._echo_seconds:
            self._restore()
        if repeated:
            os.kill(os.getpid(), number)  # as it acted before
            return
        if self.at_once:
            name = signal.Signals(number).name
            raise Interrupted(f"stopped by {name} before it went on", signal_number=number, hint=self._hint)

    @property
    def is_set(self) -> bool:
        """Whether a signal came."""
        return self.signal_number is not None

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
