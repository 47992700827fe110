"""What makes a command start sooner; nothing here changes what it does."""

from __future__ import annotations

import gc
import os


def begin() -> None:
    """Put off what only costs time while modules are imported: garbage collections, and pydantic's own plugins.

    Importing makes objects that stay; collecting garbage among them takes a tenth of the time. Pydantic reads the
    metadata of every installed package to find plugins for itself.
    """
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def imported() -> None:
    """Collect garbage from here on, but never look again at what the imports made."""
    gc.freeze()
    gc.enable()
