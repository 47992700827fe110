"""What makes a command start sooner, and share the machine; nothing here changes what it does."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from types import FrameType, ModuleType
from typing import Any


def begin() -> None:
    """Put off what only costs time while modules are imported: garbage collections, and pydantic's own plugins.

    Importing makes objects that stay; collecting garbage among them takes a tenth of the time. To find plugins for
    itself, pydantic reads the metadata of every installed package, and imports what reads it even where it must not.
    Threads of torch that wait for each other spin for a moment and then sleep: where another process has a core, those
    that only spin are many times slower.
    """
    gc.disable()
    _put_off("importlib.metadata")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")


def imported() -> None:
    """Collect garbage from here on, but never look again at what the imports made."""
    gc.freeze()
    gc.enable()


class _Later(ModuleType):
    """Stands for `importlib.metadata` until something of it is used; then that is imported.

    Pydantic takes one function of it, in case that it has plugins.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []  # asked for by every import from it

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)

    def entry_points(self, **selection: str) -> Any:
        """Do what the real one does."""
        return self.__getattr__("entry_points")(**selection)


def _put_off(module: str) -> None:
    if module not in sys.modules:
        package, _, name = module.rpartition(".")
        sys.modules[module] = _Later(module)
        setattr(sys.modules[package], name, sys.modules[module])  # as an import would


class SignalsAtOnce:
    """While it is in force, SIGINT and SIGTERM end this process there and then, with a line and their exit code.

    For the time in which there is nothing to save, and for a second signal while a run saves. No exception is raised:
    in the middle of an import or in a library's C++ it might come to nothing, or to a traceback. A signal that was
    ignored, or had a handler, keeps it.
    """

    def __init__(self) -> None:
        self._before: dict[int, object] = {}

    def begin(self) -> None:
        """Take the two signals; outside the main thread, where Python takes none, do nothing."""
        defaults = (signal.default_int_handler, signal.SIG_DFL)
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                if before in defaults:
                    signal.signal(number, _leave)
                    self._before[number] = before
        except ValueError:
            return

    def end(self) -> None:
        """Give the signals back."""
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, before)  # type: ignore[arg-type]  # what `getsignal` returned


SIGNALS_AT_ONCE = SignalsAtOnce()


def _leave(number: int, frame: FrameType | None) -> None:
    del frame
    lines = [
        f"stopped at once by {signal.Signals(number).name}",
        "",
        "hint: a run that had begun goes on from what it saved with `rl2 resume`; else nothing was written",
    ]
    try:
        cursor = "\x1b[?25h" if os.isatty(2) else ""  # a live view hides it
        os.write(2, f"{cursor}{os.linesep.join(lines)}{os.linesep}".encode())
    except OSError:
        pass
    os._exit(128 + number)
