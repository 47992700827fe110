"""`rl2 infer` beyond measuring: videos, watching, and options that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_runner import Ended, Rl2

Trained = tuple[Path, Ended]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode", "film"], "unknown mode 'film'"),
        (["--record-video", "--mode", "watch"], "--record-video and --mode watch are two modes"),
        (["--grid", "2x2"], "--grid does nothing with --mode benchmark"),
        (["--mode", "watch", "--no-overlay"], "--no-overlay does nothing with --mode watch"),
        (["--mode", "watch", "--out", "x.mp4"], "--out does nothing with --mode watch"),
        (["--mode", "record", "--view", "terminal"], "--view does nothing with --mode record"),
        (["--mode", "record", "--grid", "2"], "--grid takes rows x columns, as 2x2, at most 64 in all; got '2'"),
        (["--mode", "record", "--grid", "9x9"], "--grid takes rows x columns"),
        (["--mode", "record", "--format", "avi"], "--format takes mp4 or gif, got 'avi'"),
        (["--mode", "record", "--fps", "0"], "--fps takes a number from 0.1 to 1000, got 0"),
        (["--mode", "record", "--fps", "nan"], "--fps takes a number from 0.1 to 1000, got nan"),
        (["--mode", "watch", "--view", "windows"], "--view takes auto, window, terminal, got 'windows'"),
        (["--mode", "record", "--episodes", "0"], "--episodes takes a number of at least 1, got 0"),
        (["--record-video", "--out", "a.gif", "--format", "mp4"], "--format mp4 does not go into a.gif"),
        (["--record-video", "--out", "a.mp4", "--episodes", "2"], "2 videos do not go into one file"),
    ],
)
def test_options_that_are_wrong_or_have_no_effect(rl2: Rl2, arguments: list[str], message: str) -> None:
    ended = rl2("infer", *arguments)
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"error: {message}")


@pytest.mark.slow
def test_a_video(rl2: Rl2, trained: Trained, tmp_path: Path) -> None:
    ended = rl2("infer", trained[0], "--record-video", "--out", "new/clip.gif", "--json", "--seed", "7")
    assert (ended.code, ended.stderr) == (0, "")
    result = json.loads(ended.stdout)
    assert result["videos"] == ["new/clip.gif"]
    assert (result["seed"], result["episodes"], len(result["returns"])) == (7, 1, 1)
    assert (tmp_path / "new" / "clip.gif").read_bytes()[:6] == b"GIF89a"
    again = rl2("infer", trained[0], "--mode", "record", "--out", "new/clip.gif")
    assert (again.code, again.stderr.splitlines()[0]) == (2, "error: this file exists already")
    text = rl2("infer", trained[0], "--mode", "record", "--out", "more", "--grid", "1x2", "--no-overlay").stdout
    assert text.startswith("video       more/")
    assert "(2 episodes)" in text


def test_nothing_to_watch_on(rl2: Rl2, trained: Trained) -> None:
    ended = rl2("infer", trained[0], "--mode", "watch", "--view", "terminal")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: there is no terminal to draw in\n")


def test_no_ffmpeg(rl2: Rl2, trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    ended = rl2("infer", trained[0], "--mode", "record", "--out", "videos")
    assert ended.code == 7
    assert "videos need ffmpeg" in ended.stderr
    assert "pip install imageio-ffmpeg" in ended.stderr
    assert list(tmp_path.glob("videos/*")) == []
