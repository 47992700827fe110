"""Run folders: never shared, one writer each, found again; and what run.json says about the machine."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rl2cli.durable import fsync_folder, write_text_atomic
from rl2cli.errors import StorageError, UsageError
from rl2cli.training import machine_facts
from rl2cli.training.run_folder import FoundRun, RunFolder, find_run, started_at

HOLD = """
import sys
from pathlib import Path
from rl2cli.training.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.lock()
print("held", flush=True)
sys.stdin.read()
"""


def make_run(path: Path, started: str | None = None) -> Path:
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps({"started": started}))
    return path


def test_created_folder_has_the_stamp_and_the_seed(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "pong", 7) as folder:
        assert folder.started is not None
        assert folder.path == tmp_path / "pong" / f"{folder.started:%Y%m%d-%H%M%S}-s7"
        folder.write_run_json({"seed": 7})
        assert json.loads(folder.run_json.read_text()) == {"started": folder.started.isoformat(), "seed": 7}
    assert started_at(folder.path) == folder.started


def test_simultaneous_starts_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        folders = list(threads.map(lambda _: RunFolder.create(tmp_path, "pong", 1), range(16)))
    assert len({folder.path for folder in folders}) == 16
    for folder in folders:
        folder.close()


def test_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"process {holder.pid}"):
            RunFolder.open(path).lock()
        holder.kill()
    with RunFolder.open(path) as folder:
        folder.lock()  # the lock of a killed process is free


def test_two_starts_in_one_run_dir_are_refused(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "x", 1, tmp_path / "run"), pytest.raises(UsageError, match="another process"):
        RunFolder.create(tmp_path, "x", 1, tmp_path / "run")


def test_run_dir_may_be_an_empty_folder(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "x", 1, tmp_path) as folder:
        assert folder.path == tmp_path
    RunFolder.create(tmp_path, "x", 1, tmp_path).close()  # a start that ended before it wrote anything


def test_run_dir_with_a_run_names_the_resume_command(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    with pytest.raises(UsageError, match="already holds a run") as caught:
        RunFolder.create(tmp_path, "x", 1, path)
    assert f"rl2 resume {path}" in (caught.value.hint or "")


def test_run_dir_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"thesis\.tex"):
        RunFolder.create(tmp_path, "x", 1, tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        RunFolder.create(tmp_path, "x", 1, tmp_path / "thesis.tex")
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_disk_that_refuses_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="making the run folder failed"):
        RunFolder.create(tmp_path, "x", 1)


def test_links_in_a_run_that_came_from_elsewhere_are_refused(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    (path / "log.txt").symlink_to(tmp_path / "victim")
    with pytest.raises(UsageError, match=r"log\.txt"):
        RunFolder.open(path).lock()
    (path / "log.txt").unlink()
    with RunFolder.open(path) as folder:
        folder.lock()


def test_lock_removes_what_a_killed_write_left(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    (path / ".run.json.123.tmp").touch()
    with RunFolder.open(path) as folder:
        folder.lock()
        assert not (path / ".run.json.123.tmp").exists()


def test_open_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not hold a run"):
        RunFolder.open(tmp_path)


def test_latest_is_the_last_started_by_the_record_not_by_the_clock_of_the_disk(tmp_path: Path) -> None:
    newer = make_run(tmp_path / "a" / "x", "2026-01-02T00:00:00.5+00:00")
    older = make_run(tmp_path / "b" / "20990101-000000-s1", "2026-01-02T00:00:00.4+00:00")
    os.utime(newer, (1, 1))
    assert find_run(None, tmp_path) == find_run("latest", tmp_path) == FoundRun(newer)
    assert find_run(str(tmp_path / "b")) == find_run("b", tmp_path) == FoundRun(older)


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"started": 5}', '{"started": "9999999"}', "null", "\xff"])
def test_latest_goes_by_the_name_where_run_json_is_bad(tmp_path: Path, text: str) -> None:
    path = make_run(tmp_path / "a" / "20260101-000000-s1")
    (path / "run.json").write_text(text, encoding="latin-1")
    assert started_at(path) == datetime(2026, 1, 1, tzinfo=UTC)
    assert find_run(None, tmp_path) == FoundRun(path)


def test_checkpoint_folder_names_run_and_checkpoint(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    (path / "checkpoints" / "000000000000100").mkdir(parents=True)
    assert find_run(str(path / "checkpoints" / "000000000000100")) == FoundRun(path, 100)
    assert find_run(str(path / "checkpoints")) == find_run(str(path)) == FoundRun(path)


def test_no_run_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run yet"):
        find_run(None, tmp_path / "outputs")
    with pytest.raises(UsageError, match="neither is a run"):
        find_run(str(tmp_path))
    with pytest.raises(UsageError, match="no such run"):
        find_run(str(tmp_path / "absent"), tmp_path)


def test_atomic_write_leaves_the_old_file_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.json"
    write_text_atomic(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_text_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["summary.json"]


def test_platforms_without_folder_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_DIRECTORY")
    monkeypatch.delattr(os, "O_NOFOLLOW")
    fsync_folder(tmp_path)
    with RunFolder.create(tmp_path, "x", 1) as folder:
        folder.write_run_json({})
    assert find_run(None, tmp_path) == FoundRun(folder.path)


def test_machine_facts_are_json_and_hash_plugins() -> None:
    facts = machine_facts.machine_facts([FoundRun, int])
    assert json.loads(json.dumps(facts))["versions"]["torch"]
    plugins = facts["plugins"]
    assert isinstance(plugins, list)
    assert plugins[0]["module"] == "rl2cli.training.run_folder"
    assert len(plugins[0]["sha256"]) == 64
    assert plugins[1]["sha256"] is None


def test_machine_facts_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert machine_facts.git_state() is None
    monkeypatch.setenv("PATH", "")
    assert machine_facts.git_state() is None


def test_git_state_says_whether_files_were_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
    clean = machine_facts.git_state()
    (tmp_path / "new.txt").touch()
    changed = machine_facts.git_state()
    assert clean is not None
    assert changed is not None
    assert (clean["dirty"], changed["dirty"]) == (False, True)
    assert len(str(clean["commit"])) == 40
