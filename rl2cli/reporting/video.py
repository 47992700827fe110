"""Videos, written by ffmpeg picture by picture: memory does not grow with their length."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from rl2cli.durable import explained, storage_error
from rl2cli.errors import MissingDependencyError, RL2Error, StorageError
from rl2cli.reporting.recording import VideoFormat, exists
from rl2cli.text import shortened

GIF_RATE = 50.0
"""Pictures of a GIF in a second, at most: viewers slow down what is faster."""
INSTALL = "pip install imageio-ffmpeg, which brings one; or name yours in IMAGEIO_FFMPEG_EXE"
_ANOTHER = "try again; where it stays so, another ffmpeg may help: name it in IMAGEIO_FFMPEG_EXE"

_EVEN = "pad=ceil(iw/2)*2:ceil(ih/2)*2"  # H.264 with halved colour takes even sizes only
_COLOURS = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
_H264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p", "-threads", "2")
_OWN_PALETTES = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=bayer:bayer_scale=4"
"""A palette per picture: one for all of them would have to keep them all until the end."""
_PREVIEW = (
    "fps=10:round=up:eof_action=pass,scale='min(240,iw)':-2:flags=area,"
    "split[a][b];[a]palettegen=max_colors=64[p];[b][p]paletteuse"
)
_PREVIEW_SECONDS = 15
_PATIENCE = 120.0
"""Seconds that ffmpeg may take to finish a file that it has all pictures of."""


class VideoWriter:
    """Writes pictures to a video that is there in full, under its name, after `with`, or not at all.

    H.264 in MP4 plays in browsers. The file is read back before it gets its name.

    Args:
        path: The file, which must not exist; its folder is made.
        fps: Pictures per second.
        format: mp4 or gif.

    Raises:
        UsageError: There is such a file.
        MissingDependencyError: There is no ffmpeg.
        StorageError: It cannot be written, or is not what was written when it is read back.
    """

    def __init__(self, path: Path, *, fps: float, format: VideoFormat = "mp4") -> None:
        self.path, self.fps, self.format = path, fps, format
        self.pictures = 0
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._process: subprocess.Popen[bytes] | None = None
        self._shape: tuple[int, ...] = ()
        self._complaints: deque[str] = deque(maxlen=20)

    @property
    def seconds(self) -> float:
        """How long the video is."""
        return self.pictures / self.fps

    def write(self, picture: np.ndarray) -> None:
        """Add a picture, [height, width, 3] uint8, all of one size.

        Raises:
            StorageError: ffmpeg has given up.
        """
        if self._process is None:
            self._shape = picture.shape
            self._start(*picture.shape[:2])
        if picture.shape != self._shape or picture.dtype != np.uint8:
            raise RL2Error(
                f"a picture is {picture.shape} {picture.dtype}, those before it were {self._shape} uint8",
                hint="what an environment draws must keep its size",
            )
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(picture).data)
        except OSError as error:
            raise self._failed() from error
        self.pictures += 1

    def __enter__(self) -> VideoWriter:
        find_ffmpeg()
        with explained("making the folder of videos"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(self.path):
            raise exists(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._stop()
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def _start(self, height: int, width: int) -> None:
        given = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}", "-framerate", self._rate())
        command = [find_ffmpeg(), "-v", "error", "-y", *given, "-i", "pipe:0", "-an", *self._encoding()]
        with _ffmpeg_missing():
            self._process = subprocess.Popen(
                [*command, str(self._temporary)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                **_away_from_ctrl_c(),
            )
        self._listener = threading.Thread(target=self._listen, args=(self._process,), name="rl2-ffmpeg", daemon=True)
        self._listener.start()

    def _rate(self) -> str:
        return str(Fraction(self.fps).limit_denominator(10_000))

    def _encoding(self) -> list[str]:
        exact = ("-fflags", "+bitexact", "-flags:v", "+bitexact")  # the same pictures give the same bytes
        if self.format == "gif":
            slower = f"fps={GIF_RATE:g}," if self.fps > GIF_RATE else ""
            return ["-filter_complex", slower + _OWN_PALETTES, *exact, "-loop", "0", "-f", "gif"]
        rate = ("-r", self._rate())  # said again: by itself ffmpeg takes the usual rate that is nearest, 120 for 125
        matrix = "scale=out_color_matrix=bt709:out_range=tv"
        return ["-vf", f"{matrix},{_EVEN}", *rate, *_H264, *_COLOURS, *exact, "-movflags", "+faststart", "-f", "mp4"]

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            for line in stream:
                self._complaints.append(line.decode("utf-8", "replace").strip())

    def _finish(self) -> None:
        """Let ffmpeg end, read the file back, and give it its name.

        Raises:
            StorageError: It is not what was written.
        """
        if self._process is None:
            raise RL2Error("a video without pictures cannot be written", hint="write at least one before it is closed")
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            code = self._process.wait(_PATIENCE)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._failed() from error
        if code != 0:
            raise self._failed()
        self._verify()
        _publish(self._temporary, self.path)

    def _verify(self) -> None:
        pictures, seconds = count_pictures(self._temporary)
        rate = min(self.fps, GIF_RATE) if self.format == "gif" else self.fps
        missing = abs(pictures - self.seconds * rate)
        if (
            pictures == 0
            or missing > (2 if self.format == "gif" else 0.5)
            or abs(seconds - self.seconds) > 0.1 + 3 / rate
        ):
            raise StorageError(
                f"the video read back has {pictures} pictures in {seconds:.2f} seconds; {self.pictures} in "
                f"{self.seconds:.2f} were written",
                hint=_ANOTHER,
                place=str(self.path),
            )

    def _failed(self) -> RL2Error:
        """Return what ffmpeg has died of."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._listener.join(5)
        said = "; ".join(list(self._complaints)[-3:])
        too_large = self._process.returncode == -getattr(signal, "SIGXFSZ", 0) != 0
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if os.name != "nt" else (errno.ENOSPC,):
            if os.strerror(number) in said or (too_large and number == errno.EFBIG):
                return storage_error(OSError(number, "", str(self.path)), "writing the video")
        if "Unknown encoder" in said or "Unrecognized option 'preset'" in said:
            return MissingDependencyError("this ffmpeg cannot write H.264", hint=INSTALL, place=find_ffmpeg())
        why = shortened(said, 300) or f"it ended with code {self._process.returncode}"
        return StorageError(f"ffmpeg could not write the video: {why}", hint=_ANOTHER, place=str(self.path))

    def _stop(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.wait()
        self._listener.join()


def find_ffmpeg() -> str:
    """Return the path of ffmpeg.

    Raises:
        MissingDependencyError: There is none.
    """
    with _ffmpeg_missing():
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())


def count_pictures(path: Path) -> tuple[int, float]:
    """Return how many pictures a video has, and its seconds, by decoding all of it.

    Raises:
        StorageError: It cannot be decoded.
    """
    with _ffmpeg_missing():
        import imageio_ffmpeg
    try:
        pictures, seconds = imageio_ffmpeg.count_frames_and_secs(path)
    except (RuntimeError, OSError, ValueError) as error:
        message = "the video that was written cannot be read back"
        raise StorageError(message, hint=_ANOTHER, place=str(path)) from error
    return int(pictures or 0), float(seconds or math.nan)


def preview_gif(path: Path) -> bytes:
    """Return a small, short GIF of a video, for TensorBoard.

    Raises:
        StorageError: ffmpeg cannot read the video.
    """
    command = [find_ffmpeg(), "-v", "error", "-i", str(path), "-t", str(_PREVIEW_SECONDS), "-vf", _PREVIEW]
    with _ffmpeg_missing():
        done = subprocess.run([*command, "-f", "gif", "pipe:1"], stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        raise StorageError("ffmpeg could not make a preview of the video", hint=_ANOTHER, place=str(path))
    return done.stdout


@contextlib.contextmanager
def _ffmpeg_missing() -> Iterator[None]:
    """Explain that there is no ffmpeg, where the block finds none."""
    try:
        yield
    except (ImportError, RuntimeError, FileNotFoundError, PermissionError) as error:
        raise MissingDependencyError(f"videos need ffmpeg: {error}", hint=INSTALL) from error


def _away_from_ctrl_c() -> dict[str, Any]:
    """Return the arguments with which a child process does not get the terminal's Ctrl-C; rl2 ends it itself."""
    if os.name == "nt":
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"process_group": 0}


def _publish(temporary: Path, path: Path) -> None:
    """Give a finished file its name, never in place of another.

    Raises:
        UsageError: Another file took the name meanwhile.
        StorageError: The disk refused.
    """
    with explained("saving the video"):
        try:
            os.link(temporary, path)  # unlike a renaming, it refuses to replace
        except FileExistsError as error:
            raise exists(path) from error
        except (OSError, NotImplementedError):  # a file system without links
            if os.path.lexists(path):
                raise exists(path) from None
            os.rename(temporary, path)
