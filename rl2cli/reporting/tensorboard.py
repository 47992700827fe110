"""TensorBoard event files, written with TensorBoard's own record format.

Neither torch nor TensorFlow is imported, and TensorBoard itself only when there is something to write.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from rl2cli.durable import read_regular, storage_error, write_text_atomic
from rl2cli.errors import MissingDependencyError
from rl2cli.reporting.progress import Clock
from rl2cli.text import shortened

WRITE_EVERY = 20.0
"""Seconds between writes; the first also imports TensorBoard, which would be a good part of a short run's start."""


_LONGEST_TAG = 1000
_EVENT_FILES = "events.out.tfevents.*"
_WRITTEN = ".written"
"""File with the frames up to which every point is in the event files, those of these frames too."""


class _Point(NamedTuple):
    wall_time: float
    frames: int
    values: dict[str, float | bytes]
    """Numbers, and GIFs."""


class TensorBoardWriter:
    """Writes scalars and small videos over frames into `folder`.

    Points are kept in memory for up to 20 seconds; `flush` and `close` write them at once.

    `purge_step` is for a run that resumes: TensorBoard drops earlier sessions' points from this step on. After a
    checkpoint at F frames it is F + 1.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path, purge_step: int | None = None, clock: Clock = time.perf_counter) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise MissingDependencyError("tensorboard is not installed", hint="pip install tensorboard")
        self._folder = Path(folder)
        self._purge_step = 0 if purge_step is None else purge_step
        self._clock = clock
        self._next_write = clock() + WRITE_EVERY
        self._points: list[_Point] = []
        self._file: _EventFile | None = None
        self._written = self._purge_step - 1
        if purge_step and self._folder.is_dir():
            _note_written(self._folder, purge_step - 1)

    def scalars(self, frames: int, values: Mapping[str, float]) -> None:
        """Add one point at `frames` to each named curve.

        Raises:
            StorageError: the points of the last seconds could not be written.
        """
        self._points.append(_Point(time.time(), frames, dict(values)))
        if self._clock() >= self._next_write:
            self.flush()

    def gif(self, frames: int, name: str, content: bytes) -> None:
        """Show a GIF at `frames`, among the images.

        Raises:
            StorageError: the points so far could not be written.
        """
        self._points.append(_Point(time.time(), frames, {name: content}))
        self.flush(is_last=True)

    def flush(self, *, is_last: bool = False) -> None:
        """Write every point so far; with `is_last` no more of the same frames belong to the record.

        Raises:
            StorageError: they could not be written; they are kept for the next flush.
        """
        if not self._points:
            return
        self._next_write = self._clock() + WRITE_EVERY  # also after a failure: not with every point
        try:
            self._write(is_last)
        except OSError as error:
            raise storage_error(error, "writing TensorBoard files") from error

    def close(self) -> None:
        """Write every point so far and close the file; may be called twice.

        Raises:
            StorageError: they could not be written.
        """
        try:
            self.flush(is_last=True)
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, is_last: bool) -> None:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            _note_written(self._folder, self._purge_step - 1)  # a kill may leave a file with none of the points
            self._file = _EventFile(self._folder, self._purge_step)
        points = self._points
        self._file.write(points)
        self._points = []
        # An evaluation may follow at the frames of the last point: a kill before it is written must not lose it.
        self._written = max(self._written, points[-1].frames - (not is_last))
        _note_written(self._folder, self._written)


def _note_written(folder: Path, frames: int) -> None:
    write_text_atomic(folder / _WRITTEN, f"{frames}\n")


def written_up_to(folder: Path, saved: int) -> int:
    """Return the frames up to which the event files in `folder` have all points of a run, at most `saved`.

    A process that is killed takes the points of its last seconds along.
    """
    try:
        text = read_regular(folder / _WRITTEN, 20).strip()
        return min(int(text), saved) if text.removeprefix(b"-").isdigit() else saved
    except OSError:
        return saved if any(folder.glob(_EVENT_FILES)) else -1


class _EventFile:
    """One event file: its version, the start of a session, which drops points from `purge_step` on, then points."""

    def __init__(self, folder: Path, purge_step: int) -> None:
        self._events: Any = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self._summaries: Any = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        self._writer: Any = importlib.import_module("tensorboard.summary.writer.record_writer").RecordWriter
        folder.mkdir(parents=True, exist_ok=True)
        self._path = _next_file(folder)
        self._file: BinaryIO = self._path.open("xb", buffering=0)
        self._size = 0
        # Written in a run's first file too: TensorBoard takes only the second start that it sees for a restart.
        start = self._events.SessionLog(status=self._events.SessionLog.START)
        version = self._event(time.time(), file_version="brain.Event:2")
        try:
            self._append([version, self._event(time.time(), step=purge_step, session_log=start)])
        except OSError:
            self._file.close()
            self._path.unlink(missing_ok=True)
            raise

    def write(self, points: list[_Point]) -> None:
        """Append `points`: all of them or, where the disk refuses, none."""
        summaries = [(point, self._summary(point.values)) for point in points]
        self._append([self._event(point.wall_time, step=point.frames, summary=each) for point, each in summaries])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, events: list[bytes]) -> None:
        records = io.BytesIO()
        writer = self._writer(records)
        for event in events:
            writer.write(event)
        left = records.getbuffer()
        try:
            # TensorBoard reads no further than a torn record, so none may stay from a write that was refused.
            self._cut_back()
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            with suppress(OSError):
                self._cut_back()
            raise
        self._size += len(records.getbuffer())

    def _cut_back(self) -> None:
        self._file.truncate(self._size)
        self._file.seek(self._size)

    def _summary(self, values: Mapping[str, float | bytes]) -> object:
        value = self._summaries.Summary.Value
        return self._summaries.Summary(
            value=[value(tag=shortened(name, _LONGEST_TAG), **self._content(number)) for name, number in values.items()]
        )

    def _content(self, value: float | bytes) -> dict[str, object]:
        if not isinstance(value, bytes):
            return {"simple_value": float(value)}
        width, height = struct.unpack_from("<HH", value, 6)  # where a GIF has its size
        image = self._summaries.Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=value)
        return {"image": image}

    def _event(self, wall_time: float, **content: object) -> bytes:
        serialized: bytes = self._events.Event(wall_time=wall_time, **content).SerializeToString()
        return serialized


def _next_file(folder: Path) -> Path:
    # TensorBoard reads a folder's files in the order of their names: the number must grow with each session, even
    # if the clock was set back or two sessions began in one second. The host's name is left out on purpose.
    numbers = [_number(path) for path in folder.glob(_EVENT_FILES)]
    return folder / f"events.out.tfevents.{max([int(time.time()), *(number + 1 for number in numbers)]):010}.rl2"


def _number(path: Path) -> int:
    number = path.name.split(".")[3]
    return int(number) if number.isascii() and number.isdigit() else 0
