"""The videos of a run, small ones as text that a page can hold."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import NamedTuple

from rl2cli.durable import read_regular

KINDS = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}
MAX_BYTES = 20 * 10**6
"""Videos inside of one page, all together."""
_MOST_CLIPS = 200


class Clip(NamedTuple):
    """One video."""

    path: Path
    kind: str
    size: int
    data: str | None
    """In base64; None where it would make the page too large."""


def clips_in(folder: Path, limit: int = MAX_BYTES) -> list[Clip]:
    """Return the videos in a folder by name; their data as long as it fits into `limit` bytes."""
    found, left = [], limit
    for path in _videos(folder)[:_MOST_CLIPS]:
        try:
            size = path.stat().st_size
            content = read_regular(path, left) if 0 < size <= left else None
        except OSError:
            continue
        fits = content is not None and len(content) <= left
        data = base64.b64encode(content).decode("ascii") if fits and content else None
        left -= len(content) if fits and content else 0
        found.append(Clip(path, KINDS[path.suffix.lower()], size, data))
    return found


def _videos(folder: Path) -> list[Path]:
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in KINDS and path.is_file() and not path.is_symlink()
        )
    except OSError:
        return []
