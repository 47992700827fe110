"""The temporary folder of a connection to Ray goes with its learner, however that ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from rl2cli.training.scale import ray_folder, ray_reaper
from rl2cli.training.scale.ray_folder import RayFolder, remove_orphans

HELD = """
import sys
from rl2cli.training.scale.ray_folder import RayFolder
folder = RayFolder()
(folder.path / "session").mkdir()
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_there_until_it_is_closed(temporary: Path) -> None:
    folder = RayFolder()
    (folder.path / "session").mkdir()
    remove_orphans()
    assert folder.path.parent == temporary
    assert (folder.path / "session").is_dir()
    folder.close()
    assert list(temporary.iterdir()) == []


def test_the_next_learner_removes_that_of_one_that_was_killed_and_of_none_that_lives(temporary: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        assert theirs.parent == temporary
        remove_orphans()
        assert (theirs / "session").is_dir(), "its learner lives"
        process.kill()
        process.wait()
        assert theirs.is_dir()
        ours = RayFolder()
        assert not theirs.exists()
        ours.close()
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_what_is_none_of_ours_is_left_alone(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = temporary / "other"
    other.mkdir()
    (temporary / "rl2-ray-unlocked").mkdir()
    (temporary / "rl2-ray-link").symlink_to(other)
    (temporary / "rl2-ray-link.lock").touch()
    remove_orphans()
    strangers = temporary / "rl2-ray-strangers"
    strangers.mkdir()
    strangers.with_name("rl2-ray-strangers.lock").touch()
    monkeypatch.setattr(ray_folder.os, "getuid", lambda: strangers.stat().st_uid + 1)
    remove_orphans()
    assert sorted(path.name for path in temporary.iterdir() if path.is_dir()) == [
        "other", "rl2-ray-link", "rl2-ray-strangers", "rl2-ray-unlocked",
    ]  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says when a process began")
@pytest.mark.parametrize("how", ["killed", "closed"])
def test_what_is_left_ends_with_its_learner(temporary: Path, how: str) -> None:
    left, spared = (subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2))
    code = HELD.replace(
        "sys.stdin.read()",
        f"""
reaper = ray_folder.Reaper(folder)
reaper.watch([{left.pid}])
sys.stdin.readline()
reaper.end()
folder.close()""",
    ).replace("import sys", "import sys\nfrom rl2cli.training.scale import ray_folder")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdout is not None
        assert one.stdin is not None
        theirs = Path(one.stdout.readline().strip())
        assert left.poll() is None
        if how == "killed":
            time.sleep(1.0)
            one.kill()
        else:
            one.stdin.write("\n")
            one.stdin.flush()
        assert left.wait(timeout=60) == -9
        until = time.monotonic() + 30.0
        while theirs.exists() and time.monotonic() < until:
            time.sleep(0.1)
        assert not theirs.exists()
    assert spared.poll() is None
    spared.kill()
    spared.wait()


def test_a_process_that_got_the_number_of_another_is_spared() -> None:
    assert ray_reaper.begun(2**22 + 1) is None
    if sys.platform.startswith("linux"):
        assert str(ray_reaper.begun(os.getpid())).isdigit()
