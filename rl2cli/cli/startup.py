"""What makes a command start sooner; nothing here changes what it does."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import os
import sys
import threading
from pathlib import Path

_LIBRARIES = ("libtorch_global_deps.so", "libtorch_python.so")
_preloading: threading.Thread | None = None


def begin() -> None:
    """Put off what only costs time while modules are imported: garbage collections, and pydantic's own plugins.

    Importing makes objects that stay; collecting garbage among them takes a tenth of the time. Pydantic reads the
    metadata of every installed package to find plugins for itself.
    """
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def preload_torch() -> None:
    """Load torch's libraries in a thread, while this one imports and reads what needs no torch.

    Linking them takes a quarter of `import torch` and, unlike the rest of it, does not hold Python's lock.
    Elsewhere than on Linux, nothing happens.
    """
    global _preloading
    if not sys.platform.startswith("linux") or "torch" in sys.modules or _preloading is not None:
        return
    _preloading = threading.Thread(target=_load_libraries, name="rl2-preload", daemon=True)
    _preloading.start()


def imported() -> None:
    """Collect garbage from here on, but never look again at what the imports made."""
    gc.freeze()
    gc.enable()


def is_preloading() -> bool:
    """Return whether the thread of `preload_torch` is still at work."""
    return _preloading is not None and _preloading.is_alive()


def _load_libraries() -> None:
    # The same libraries, in the same order and with the same visibility as `import torch` itself loads them.
    found = importlib.util.find_spec("torch")
    folders = found.submodule_search_locations if found is not None else None
    if not folders:
        return
    with contextlib.suppress(OSError):
        for name, mode in zip(_LIBRARIES, (ctypes.RTLD_GLOBAL, ctypes.RTLD_LOCAL), strict=True):
            ctypes.CDLL(str(Path(folders[0], "lib", name)), mode=mode)
