"""What makes a command start sooner, and share the machine; nothing here changes what it does."""

from __future__ import annotations

import gc
import os


def begin() -> None:
    """Put off what only costs time while modules are imported: garbage collections, and pydantic's own plugins.

    Importing makes objects that stay; collecting garbage among them takes a tenth of the time. Pydantic reads the
    metadata of every installed package to find plugins for itself. Threads of torch that wait for each other spin for
    a moment and then sleep: where another process has a core, those that only spin are many times slower.
    """
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")


def imported() -> None:
    """Collect garbage from here on, but never look again at what the imports made."""
    gc.freeze()
    gc.enable()
