"""Entry points of installed packages, without reading the metadata of all of them where none brings a plugin."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_HEADING = re.compile(rb"\[\s*rl2cli\.")
_METADATA = (".dist-info", ".egg-info", "EGG-INFO")
_MAX_BYTES = 1_000_000


def entry_points(group: str) -> Iterable[EntryPoint]:
    """Return what installed packages announce in `group`, one of rl2's."""
    if not is_any():
        return ()
    import importlib.metadata  # with what it imports, a tenth of what a spec error may take

    return importlib.metadata.entry_points(group=group)


@functools.cache
def is_any() -> bool:
    """Return whether any installed package may announce a plugin for rl2."""
    return any(_announces(folder) for folder in dict.fromkeys(sys.path))


def _announces(folder: str) -> bool:
    try:
        with os.scandir(folder or os.curdir) as entries:
            found = [entry.path for entry in entries if entry.name.endswith(_METADATA)]
    except NotADirectoryError:
        return True  # an archive, in which importlib.metadata looks
    except OSError:
        return False
    return any(_names_rl2(os.path.join(metadata, "entry_points.txt")) for metadata in found)


def _names_rl2(path: str) -> bool:
    with suppress(OSError), open(path, "rb") as file:
        return _HEADING.search(file.read(_MAX_BYTES)) is not None
    return False
