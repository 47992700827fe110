"""Ways to damage a run folder, each undone afterwards."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Damage:
    """What was done to a folder."""

    what: str
    hit: set[Path] = field(default_factory=set)
    """Files whose content, or whose being there, is not what was written; also folders of checkpoints."""
    extra: Path | None = None
    """A file that rl2 did not write."""


class Copy:
    """A folder that is damaged and made whole again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def mend(self) -> None:
        """Make it whole again: what differs is written, what is too much removed."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            known = self.files.get(path.relative_to(self.folder))
            if path.is_symlink() or not (path.is_dir() or (path.is_file() and known == path.read_bytes())):
                path.unlink()
        for name, content in self.files.items():
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()) and not self._has_folder(path):
                path.rmdir()

    def _has_folder(self, path: Path) -> bool:
        inside = path.relative_to(self.folder)
        return any(inside in name.parents for name in self.files)


# --- one file ---


def change_bytes(path: Path, draw: random.Random) -> None:
    """Flip a bit, replace a block, cut some out, put some in, or cut the end off."""
    content = bytearray(path.read_bytes())
    before = bytes(content)
    while bytes(content) == before:
        position = draw.randrange(len(content)) if content else 0
        length = draw.choice([1, 1, 2, 16, 512])
        draw.choice(_EDITS)(content, position, length, draw)
    path.write_bytes(content)


def _flip(content: bytearray, position: int, length: int, draw: random.Random) -> None:
    if content:
        content[position] ^= 1 << draw.randrange(8)


def _replace(content: bytearray, position: int, length: int, draw: random.Random) -> None:
    end = min(len(content), position + length)
    content[position:end] = draw.choice([bytes, draw.randbytes])(end - position)


def _cut(content: bytearray, position: int, length: int, draw: random.Random) -> None:
    del content[position : position + length]


def _insert(content: bytearray, position: int, length: int, draw: random.Random) -> None:
    content[position:position] = draw.choice([b" ", b"\0", b"\n", draw.randbytes(length)])


def _truncate(content: bytearray, position: int, length: int, draw: random.Random) -> None:
    del content[position:]


def _append(content: bytearray, position: int, length: int, draw: random.Random) -> None:
    content += draw.choice([b" ", b"\0", b"\n", draw.randbytes(length), bytes(content)])


_EDITS: tuple[Callable[[bytearray, int, int, random.Random], None], ...] = (
    *(_flip, _flip, _flip, _replace),
    *(_cut, _insert, _truncate, _append),
)


def remove(path: Path, draw: random.Random) -> None:
    """Remove a file."""
    path.unlink()


def empty(path: Path, draw: random.Random) -> None:
    """Leave nothing of its content."""
    path.write_bytes(b"")


def rename(path: Path, draw: random.Random) -> None:
    """Give it another name."""
    path.rename(path.with_name(draw.choice([f"{path.name}.bak", path.name.upper(), f"old-{path.name}"])))


def folder_instead(path: Path, draw: random.Random) -> None:
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()


def link_instead(path: Path, draw: random.Random) -> None:
    """Put a link in its place, to the very content, to nothing or to itself."""
    content, target = path.read_bytes(), path.with_name(f".moved-{path.name}")
    path.unlink()
    target.write_bytes(content)
    path.symlink_to(draw.choice([target, path.parent / "nowhere", path, Path("/dev/zero")]))


def pipe_instead(path: Path, draw: random.Random) -> None:
    """Put a pipe in its place, which nobody writes to."""
    path.unlink()
    os.mkfifo(path)


FILE_DAMAGE: tuple[Callable[[Path, random.Random], None], ...] = (
    *(change_bytes,) * 8,
    *(remove, empty, rename, folder_instead, link_instead, pipe_instead),
)
