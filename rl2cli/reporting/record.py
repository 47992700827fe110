"""A record that is appended to: one JSON object per line, cut back to where a checkpoint was made on resume."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from rl2cli.durable import explained, open_regular

_BLOCK = 65536
_LONGEST_LINE = 2**20
_MOST = 2**63


_NOT_FINITE = ("nan", "inf", "-inf")


class RecordFile:
    """Appends rows to a JSON lines file; a row is on its way to the disk after `flush`.

    A last line that a killed process left unfinished is removed on opening.

    Raises:
        StorageError: the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[str] = []
        self._is_torn = False
        """Part of a row may lie behind `offset`."""
        self._digest: hashlib._Hash | None = None
        """Of the first `offset` bytes as they were written, once somebody has asked for it."""
        with self._explained():
            self._file = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, buffering=0)
        with self._explained():
            self._offset = self._end_of_last_line(os.fstat(self._file.fileno()).st_size)
            os.ftruncate(self._file.fileno(), self._offset)

    @property
    def offset(self) -> int:
        """Bytes written so far, rows that wait for `flush` not counted."""
        return self._offset

    def append(self, row: Mapping[str, object]) -> None:
        """Add a row; numbers that are not finite become the strings `nan`, `inf` and `-inf`.

        Raises:
            TypeError: a value is neither plain JSON nor a number of numpy or torch.
        """
        self.append_line(to_json(row))

    def append_line(self, line: str) -> None:
        """Add a line that is no JSON."""
        self._lines.append(line)

    def flush(self, *, fsync: bool = False) -> int:
        """Write the rows added so far, and return the file's size; with `fsync` they also survive a power cut.

        Raises:
            StorageError: the disk refused; the rows are kept for the next flush, the file holds whole lines only.
        """
        content = "".join(f"{line}\n" for line in self._lines).encode("utf-8", "backslashreplace")
        with self._explained():
            try:
                self._write(content)
            except BaseException:
                with suppress(OSError):  # the next flush tries again
                    self._cut_torn_row()
                raise
            self._offset += len(content)
            self._lines.clear()
        if self._digest is not None:
            self._digest.update(content)
        if fsync:
            self.sync()
        return self._offset

    def sha256(self) -> str:
        """Return the hash of the first `offset` bytes; the first time they are read, and then it is kept up to date.

        Raises:
            StorageError: they cannot be read.
        """
        if self._digest is None:
            with self._explained():
                self._file.seek(0)
                self._digest = _hash_start(self._file, self._offset)
        return self._digest.hexdigest()

    def sync(self) -> None:
        """Push what was flushed to the disk, also from another thread.

        Raises:
            StorageError: the disk refused.
        """
        with self._explained():
            os.fsync(self._file.fileno())

    def _write(self, content: bytes) -> None:
        self._cut_torn_row()
        self._is_torn = bool(content)
        left = memoryview(content)
        while left:
            left = left[os.write(self._file.fileno(), left) :]
        self._is_torn = False

    def _cut_torn_row(self) -> None:
        if self._is_torn:
            os.ftruncate(self._file.fileno(), self._offset)
            self._is_torn = False

    def truncate_to(self, offset: int) -> str | None:
        """Cut the file back to `offset`, dropping later rows; return what is amiss where the file is not that long.

        Raises:
            StorageError: the disk refused.
        """
        self._lines.clear()
        problem = None
        with self._explained():
            if offset > self._offset:
                problem = f"{self.path.name} has {self._offset} bytes; {offset} were written: its last rows are lost"
            target = self._end_of_last_line(min(offset, self._offset))
            if target != offset and problem is None:
                problem = f"{self.path.name} was changed: byte {offset} is not the end of a line; cut back to {target}"
            os.ftruncate(self._file.fileno(), target)
            self._offset = target
        self._digest = None
        return problem

    def rows_after(self, frames: int) -> list[dict[str, object]]:
        """Return the rows at the file's end that have more `frames` than that; what is no row ends them.

        Raises:
            StorageError: the disk refused.
        """
        found: list[dict[str, object]] = []
        with self._explained():
            for line in self._lines_backwards():
                row = _parse(line)
                if row is None or _frames(row) <= frames:
                    break
                found.append(row)
        return found[::-1]

    def _lines_backwards(self) -> Iterator[bytes]:
        """Yield the whole lines of the file, the last one first."""
        end, rest = self._offset, b""
        while end > 0:
            start = max(0, end - _BLOCK)
            self._file.seek(start)
            first, *others = (self._file.read(end - start) + rest).split(b"\n")
            yield from (line for line in reversed(others) if line)
            end, rest = start, first
            if len(rest) > _LONGEST_LINE:
                return
        if rest:
            yield rest

    def close(self) -> None:
        """Flush and close.

        Raises:
            StorageError: the disk refused the last rows.
        """
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end_of_last_line(self, end: int) -> int:
        """Return the end of the last whole line that lies before `end`."""
        while end > 0:
            start = max(0, end - _BLOCK)
            self._file.seek(start)
            newline = self._file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0

    def _explained(self) -> AbstractContextManager[None]:
        return explained(f"writing {self.path.name}")


def _hash_start(file: BinaryIO, length: int) -> hashlib._Hash:
    """Return the sha256 of the next `length` bytes of a file, or of those that it has."""
    digest = hashlib.sha256()
    while length > 0 and (block := file.read(min(length, _BLOCK))):
        digest.update(block)
        length -= len(block)
    return digest


def _parse(line: bytes) -> dict[str, object] | None:
    """Return the row that a line is, None where it is none that this module writes."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_row = isinstance(row, dict) and all(
        value is None or isinstance(value, float) or (type(value) is int and abs(value) < _MOST) or value in _NOT_FINITE
        for value in row.values()
    )
    return row if is_row else None


def _frames(row: Mapping[str, object]) -> int:
    frames = row.get("frames")
    return frames if type(frames) is int else -1


def to_json(row: Mapping[str, object]) -> str:
    """Return one line of strict JSON, non-finite numbers as strings.

    Raises:
        TypeError: a value is neither plain JSON nor a number of numpy or torch.
    """
    try:
        return json.dumps(row, allow_nan=False)
    except (ValueError, TypeError):
        return json.dumps(_plain(row), allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if value is None or isinstance(value, bool | int | str):
        return value
    item = getattr(value, "item", None)  # a numpy number, or a tensor of one element
    if item is None:
        raise TypeError(f"{type(value).__qualname__} cannot be written as JSON")
    return _plain(item())
