"""What a disk may hold after the power went: every change that was not pushed to it may be there or not, in any order.

The model is POSIX's, without the kindness of a journal: the content of a file counts once the file was synced, an entry
of a folder (made, renamed, removed) once that folder was. A rename is one change.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Node: TypeAlias = int
Tree: TypeAlias = dict[str, "Tree | bytes"]
ROOT: Node = 0


@dataclass(frozen=True)
class Entry:
    """A change of names: `node` is no longer `old` and is now `new`, each (folder, name) or None."""

    node: Node
    old: tuple[Node, str] | None
    new: tuple[Node, str] | None

    def folders(self) -> set[Node]:
        """Return the folders that have to be synced for it to last."""
        return {place[0] for place in (self.old, self.new) if place is not None}


@dataclass(frozen=True)
class Written:
    """A file has this content now."""

    node: Node
    content: bytes


@dataclass(frozen=True)
class Synced:
    """A file or a folder is on the disk as it is now."""

    node: Node


Operation: TypeAlias = Entry | Written | Synced


@dataclass
class Recorded:
    """What a process did, and when a checkpoint was said to be saved."""

    operations: list[Operation] = field(default_factory=list)
    folders: set[Node] = field(default_factory=lambda: {ROOT})
    saved: list[tuple[int, int]] = field(default_factory=list)
    """After how many operations the checkpoint of which frame was."""

    def states(self, after: int, draw: random.Random, most: int) -> Iterator[Tree]:
        """Yield what the disk may hold when the power goes after that many operations: all, or `most` drawn ones."""
        done = self.operations[:after]
        lasting = _lasting(done)
        loose = [index for index, change in enumerate(done) if isinstance(change, Entry) and index not in lasting]
        torn = sorted(_unsynced_files(done))
        for choice in _choices(loose, torn, draw, most):
            yield self._tree(done, lasting | choice.kept, choice.contents)

    def _tree(self, done: list[Operation], applied: set[int], torn: dict[Node, int]) -> Tree:
        names: dict[Node, dict[str, Node]] = {folder: {} for folder in self.folders}
        contents: dict[Node, bytes] = {}
        for index, change in enumerate(done):
            if isinstance(change, Written):
                contents[change.node] = change.content
            elif isinstance(change, Entry) and index in applied:
                if change.old is not None and names[change.old[0]].get(change.old[1]) == change.node:
                    del names[change.old[0]][change.old[1]]
                if change.new is not None:
                    names[change.new[0]][change.new[1]] = change.node
        contents |= {node: _torn(contents.get(node, b""), how) for node, how in torn.items()}
        return self._folder(ROOT, names, contents)

    def _folder(self, folder: Node, names: dict[Node, dict[str, Node]], contents: dict[Node, bytes]) -> Tree:
        return {
            name: self._folder(node, names, contents) if node in self.folders else contents.get(node, b"")
            for name, node in names[folder].items()
        }


@dataclass(frozen=True)
class _Choice:
    kept: set[int]
    contents: dict[Node, int]


def _lasting(done: list[Operation]) -> set[int]:
    """Return which changes of names are on the disk for certain."""
    found: set[int] = set()
    for index, change in enumerate(done):
        if isinstance(change, Entry):
            synced = {later.node for later in done[index + 1 :] if isinstance(later, Synced)}
            if change.folders() <= synced:
                found.add(index)
    return found


def _unsynced_files(done: list[Operation]) -> set[Node]:
    found: set[Node] = set()
    for change in done:
        if isinstance(change, Written):
            found.add(change.node)
        elif isinstance(change, Synced):
            found.discard(change.node)
    return found


def _choices(loose: list[int], torn: list[Node], draw: random.Random, most: int) -> Iterator[_Choice]:
    """Yield combinations of what is there: all of them where they are few, else the extreme ones and drawn ones."""
    ways = 4 ** len(torn)
    if 2 ** len(loose) * ways <= most:
        subsets = [{each for bit, each in enumerate(loose) if number >> bit & 1} for number in range(2 ** len(loose))]
        numbers = [(subset, number) for subset in subsets for number in range(ways)]
    else:
        extreme = [set(), set(loose), *({one} for one in loose), *(set(loose) - {one} for one in loose)]
        drawn = [{one for one in loose if draw.random() < 0.5} for _ in range(most)]
        numbers = [(subset, draw.randrange(ways)) for subset in [*extreme, *drawn][:most]]
    for subset, number in numbers:
        yield _Choice(subset, {node: number // 4**place % 4 for place, node in enumerate(torn)})


def _torn(content: bytes, how: int) -> bytes:
    return (b"", content[: len(content) // 2], bytes(len(content)), content)[how]


def write_tree(folder: Path, tree: Tree) -> None:
    """Make `tree` real."""
    folder.mkdir()
    for name, node in tree.items():
        if isinstance(node, bytes):
            (folder / name).write_bytes(node)
        else:
            write_tree(folder / name, node)
