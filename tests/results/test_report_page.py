"""The report: one well-formed page with nothing from outside, whatever the run's files hold."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from made_run import make_run, write_rows

from rl2cli.results.report import report
from rl2cli.results.run_record import RunRecord
from rl2cli.results.values import MAX_RECORD_BYTES

HOSTILE = "<script>alert(1)</script> [red]x[/red] & \"' \x1b[31m\u202e $\\frac{"


def parsed(path: Path, out: Path | None = None) -> tuple[str, ElementTree.Element]:
    """Return a run's report and its elements; it is well-formed XML too."""
    text = report(RunRecord(path), out or path / "report.html")
    return text, ElementTree.fromstring(text.replace("<!DOCTYPE html>", "", 1))


def words(page: ElementTree.Element) -> str:
    return " ".join(" ".join(page.itertext()).split())


def assert_closed(page: ElementTree.Element) -> None:
    """Check that a page refers to nothing but itself, and runs nothing."""
    assert {element.tag for element in page.iter()}.isdisjoint({"script", "link", "iframe", "object", "embed", "base"})
    for element in page.iter():
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on"), name
            if name in ("src", "href"):
                assert value.startswith(("data:", "#")), value
            assert not re.search(r"url\((?!#)", value), value


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("plain") / "run", facts={"cpu": "Fast", "versions": {"torch": "9"}})


def test_a_report_says_what_came_of_the_run(plain: Path) -> None:
    text, page = parsed(plain)
    shown = words(page)
    assert_closed(page)
    for part in ("small", "CartPole-v1, ppo, mlp, seed 1", "30.00", "10.00 ± 1.00", "finished", "Fast", "torch 9"):
        assert part in shown, part
    assert len(page.findall(".//svg")) == 2  # return with evaluations, loss/policy
    assert "://" not in text
    assert len(text) < 100_000


def test_ids_are_there_once(plain: Path) -> None:
    text, _ = parsed(plain)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert ids
    assert len(ids) == len(set(ids))


def test_hostile_texts_are_shown_and_do_nothing(tmp_path: Path) -> None:
    rows = [{"frames": 700, HOSTILE: 1.0, "loss/x": "nan"}]
    facts = {
        "command": [HOSTILE],
        "cpu": HOSTILE,
        "choices": [HOSTILE],
        "versions": {HOSTILE: HOSTILE},
        "plan": {"a": HOSTILE},
    }
    path = make_run(tmp_path / "run", name=HOSTILE, rows=rows, facts=facts)
    (path / "spec.toml").write_text(HOSTILE, encoding="utf-8")
    write_rows(path / "timings.jsonl", [{"event": HOSTILE, "time": 1e300, "frames": 1, "text": HOSTILE, HOSTILE: 1}])
    text, page = parsed(path)
    assert_closed(page)
    assert words(page).count("<script>alert(1)</script> [red]x[/red]") >= 8
    assert not {"\x1b", "\u202e"} & set(text)


def test_an_empty_run(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    _, page = parsed(tmp_path)
    assert "Nothing was recorded yet." in words(page)


def test_files_of_the_wrong_shape(tmp_path: Path) -> None:
    path = make_run(
        tmp_path / "run", facts={"versions": 3, "git": [], "resumed": {"a": 1}, "gpus": {}, "plan": "x", "choices": 1}
    )
    (path / "timings.jsonl").unlink()
    (path / "metrics.jsonl").write_bytes(b"\x00\xff" * 1000)
    (path / "summary.json").write_text("[]", encoding="utf-8")
    assert_closed(parsed(path)[1])


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    rows = [{"frames": 600, "loss/a": "inf"}, {"frames": 700, "loss/a": 1.0}, {"frames": 800, "loss/b": "nan"}]
    path = make_run(tmp_path / "run", returns=["nan", 5.0, "-inf"], rows=rows)
    text, page = parsed(path)
    assert "loss/a" in words(page)
    assert "loss/b" not in words(page)  # nothing to draw
    assert not re.search(r'd="[^"]*(nan|inf)', text)


def test_many_metrics_are_left_in_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2cli.results.charts.MOST_CHARTS", 2)
    _, page = parsed(make_run(tmp_path / "run", rows=[{"frames": 1, **{f"loss/{index}": 1.0 for index in range(5)}}]))
    assert len(page.findall(".//svg")) == 2
    assert "5 more metrics are in metrics.jsonl" in words(page)


def test_a_record_that_is_too_long_is_said_to_be(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    with (path / "metrics.jsonl").open("ab") as file:
        file.truncate(MAX_RECORD_BYTES + 1)  # takes no room on the disk
    assert "Only the first 64 MB of metrics.jsonl are shown." in words(parsed(path)[1])


def test_videos_are_inside_or_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_run(tmp_path / "run")
    (path / "videos").mkdir()
    for name, size in (("a.mp4", 30), ("b b#.mp4", 500), ("c.gif", 20), ("d.txt", 5), ("empty.mp4", 0)):
        (path / "videos" / name).write_bytes(b"x" * size)
    monkeypatch.setattr("rl2cli.results.video_files.clips_in.__defaults__", (100,))
    _, page = parsed(path, tmp_path / "out.html")
    data = base64.b64encode(b"x" * 30).decode()
    assert [video.get("src") for video in page.iter("video")] == [f"data:video/mp4;base64,{data}"]
    assert [image.get("alt") for image in page.iter("img")] == ["c.gif"]
    assert [link.get("href") for link in page.iter("a")] == ["run/videos/b%20b%23.mp4", "run/videos/empty.mp4"]


def test_events_and_shares(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    speed = {"environment": 0.1, "policy": 0.2, "learning": 0.3, "other": 0.4, "frames_per_second": 10.0}
    write_rows(
        path / "timings.jsonl",
        [
            {"event": "start", "time": 1.0, "frames": 0, "choices": "cpu"},
            {"event": "speed", "time": 9.0, "frames": 100, **speed},
            {"event": "note", "time": 10.0, "frames": 100, "text": "the disk is slow"},
        ],
    )
    shown = words(parsed(path)[1])
    assert "environment 10 % policy 20 % learning 30 % other 40 %" in shown
    assert "1970-01-01 00:00:10 100 note the disk is slow" in shown
    assert "frames per second" in shown
