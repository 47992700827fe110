"""Videos: whole under their names or not there, with the right pictures for the right time."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from rl2cli.errors import MissingDependencyError, RL2Error, StorageError, UsageError
from rl2cli.reporting import video
from rl2cli.reporting.video import VideoWriter, count_pictures, preview_gif


def pictures(count: int = 12, height: int = 41, width: int = 63) -> list[np.ndarray]:
    """Return pictures of odd sizes that differ: a red one that turns blue."""
    ramp = np.linspace(0, 255, count).astype(np.uint8)
    return [np.full((height, width, 3), (255 - level, 0, level), np.uint8) for level in ramp]


def write(path: Path, fps: float = 20, **options: object) -> Path:
    with VideoWriter(path, fps=fps, **options) as writer:  # type: ignore[arg-type]
        for picture in pictures():
            writer.write(picture)
    return path


def write_until(path: Path, what: Callable[[VideoWriter], object]) -> None:
    """Write one picture, then do `what`."""
    with VideoWriter(path, fps=5) as writer:
        writer.write(pictures()[0])
        what(writer)


def interrupt(_: VideoWriter) -> None:
    raise KeyboardInterrupt


def read(path: Path) -> tuple[str, np.ndarray]:
    """Return what ffmpeg says of a video, and its pictures."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    done = subprocess.run(command, capture_output=True, check=True)
    facts = next(line for line in done.stderr.decode().splitlines() if "Video:" in line)
    size = re.search(r" (\d{2,4})x(\d{2,4})[, ]", facts)
    assert size is not None
    return facts, np.frombuffer(done.stdout, np.uint8).reshape(-1, int(size[2]), int(size[1]), 3)


def test_an_mp4_is_h264_of_even_size_that_begins_before_it_is_loaded(tmp_path: Path) -> None:
    path = write(tmp_path / "new" / "a.mp4")
    facts, shown = read(path)
    assert all(each in facts for each in (" h264 ", " yuv420p(", " 64x42", " 20 fps"))
    assert count_pictures(path) == (12, pytest.approx(0.6))
    assert np.abs(shown[0][10, 10].astype(int) - (255, 0, 0)).max() < 12  # colours are as they were
    assert np.abs(shown[-1][10, 10].astype(int) - (0, 0, 255)).max() < 12
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert [each.name for each in path.parent.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("fps", [125, 66.667, 29.97, 1, 0.1])
def test_unusual_rates_are_kept(tmp_path: Path, fps: float) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path, fps=fps) as writer:
        for picture in pictures(41, 514, 480):
            writer.write(picture)
    assert count_pictures(path) == (41, pytest.approx(41 / fps, abs=0.011 + 1 / fps))


def test_the_same_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a.mp4").read_bytes() == write(tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize(("fps", "shown"), [(20, 12), (100, 6)])
def test_a_gif_keeps_its_time_and_colours(tmp_path: Path, fps: float, shown: int) -> None:
    path = write(tmp_path / "a.gif", fps, format="gif")
    assert path.read_bytes()[:6] == b"GIF89a"
    assert abs(count_pictures(path)[0] - shown) <= 1
    _, frames = read(path)
    assert np.abs(frames[0][10, 10].astype(int) - (255, 0, 0)).max() < 12


@pytest.mark.parametrize(("count", "fps"), [(1, 50), (2, 50), (1, 0.5), (40, 1000)])
def test_a_preview_of_very_little(tmp_path: Path, count: int, fps: float) -> None:
    with VideoWriter(tmp_path / "a.mp4", fps=fps) as writer:
        for picture in pictures(40)[:count]:
            writer.write(picture)
    (tmp_path / "a.gif").write_bytes(preview_gif(tmp_path / "a.mp4"))
    assert count_pictures(tmp_path / "a.gif")[0] >= 1


def test_a_preview_is_a_small_gif(tmp_path: Path) -> None:
    content = preview_gif(write(tmp_path / "a.mp4"))
    assert content[:6] == b"GIF89a"
    assert int.from_bytes(content[6:8], "little") == 64
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(StorageError, match="preview"):
        preview_gif(tmp_path / "broken.mp4")


def test_a_file_in_the_way_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        write(path)
    path.unlink()
    with pytest.raises(UsageError, match="exists already"):
        write_until(path, lambda _: path.write_bytes(b"mine"))
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_until(tmp_path / "a.mp4", interrupt)
    with pytest.raises(RL2Error, match=r"\(4, 4, 3\) uint8, those before it were \(41, 63, 3\)"):
        write_until(tmp_path / "a.mp4", lambda writer: writer.write(np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(RL2Error, match="without pictures"), VideoWriter(tmp_path / "a.mp4", fps=5):
        pass
    assert list(tmp_path.iterdir()) == []


def test_no_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    with pytest.raises(MissingDependencyError, match="videos need ffmpeg"):
        write(tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="the fake ffmpeg is a shell script")
@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("cat > /dev/null; echo 'av_write: No space left on device' >&2; exit 1", StorageError, "the disk is full"),
        ("cat > /dev/null; echo 'something else' >&2; exit 1", StorageError, "something else"),
        ("kill -XFSZ $$", StorageError, "the file is larger than is allowed here"),
        ("exit 3", StorageError, "it ended with code 3"),
        ("echo \"Unknown encoder 'libx264'\" >&2; exit 8", MissingDependencyError, "cannot write H.264"),
    ],
)
def test_an_ffmpeg_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: type[Exception], message: str
) -> None:
    fake = tmp_path / "ffmpeg"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(fake))
    with pytest.raises(error, match=message):
        write(tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == [fake]


def test_a_video_that_reads_back_short_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "count_pictures", lambda path: (3, 0.15))
    with pytest.raises(StorageError, match=r"read back has 3 pictures in 0\.15 seconds; 12 in 0\.60"):
        write(tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert count_pictures(write(tmp_path / "a.mp4"))[0] == 12


def test_ffmpeg_is_gone_after_an_error(tmp_path: Path) -> None:
    started: list[VideoWriter] = []
    with pytest.raises(ZeroDivisionError):
        write_until(tmp_path / "a.mp4", lambda writer: started.append(writer) or 1 / 0)
    process = started[0]._process
    assert process is not None
    assert process.poll() is not None
