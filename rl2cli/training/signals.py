"""SIGINT and SIGTERM ask a run to stop after it has saved; a second one leaves at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from rl2cli.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Within `with StopRequest() as stop`, the first signal sets `stop.signal_number`; the next one acts as before.

    Outside the main thread, where Python takes no signals, it never stops anything.

    Args:
        hint: What to do after a signal that came when nothing was to be saved; see `at_once`.
    """

    def __init__(self, hint: str | None = None) -> None:
        self.signal_number: int | None = None
        self.at_once = hint is not None
        """Whether there is nothing to save yet, so that a signal raises `Interrupted` there and then."""
        self._hint = hint
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
        self.signal_number = number
        self._restore()
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
