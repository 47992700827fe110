"""`rl2 train --resume`: the same command begins a run, goes on with it after any end, and then does nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command_runner import Rl2
from long_run import LONG, digest

from rl2cli.training.digest import Digest
from rl2cli.training.run_folder import RunFolder

AGAIN = ("--run-dir", "run", "--resume")
needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="ends processes by signals")


@contextmanager
def training(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start `rl2 train WORDS` in `folder`; it is ended with the block."""
    command = [sys.executable, "-m", "rl2cli", "train", *words]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 900.0
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Digest:
    """The digest of the long run, which nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "long.toml").write_text(LONG)
    with training(folder, "long.toml", "--run-dir", "run", "-q") as process:
        assert (process.communicate()[0], process.returncode) == ("run\n", 0)
    return digest(folder / "run")


def test_begins_and_then_has_nothing_to_do(rl2: Rl2, spec: Path, tmp_path: Path) -> None:
    began = rl2("train", spec, *AGAIN)
    assert (began.code, began.stdout) == (0, "run\n"), began.stderr
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    ended = rl2("train", spec, *AGAIN)
    assert (ended.code, ended.stdout) == (0, "run\n")
    frames = json.loads((tmp_path / "run" / "summary.json").read_text())["frames"]
    assert ended.stderr == f"the run in run has ended already, after {frames} frames\n"
    as_json = rl2("train", spec, *AGAIN, "--json", "--set", "checkpoint.keep=1")
    summary = json.loads(as_json.stdout)
    assert (as_json.code, summary["status"], summary["frames"]) == (0, "finished", frames)
    assert summary["run_dir"] == "run"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


@pytest.mark.parametrize("more", [(), ("--seeds", "2")])
def test_needs_a_folder(rl2: Rl2, spec: Path, more: tuple[str, ...]) -> None:
    refused = rl2("train", spec, "--resume", *more)
    assert refused.code == 2
    assert "--resume needs --run-dir" in refused.stderr
    assert "hint: --run-dir DIR names one" in refused.stderr
    assert not Path("outputs").exists()


def test_another_spec_is_refused_by_its_keys(rl2: Rl2, spec: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert rl2("train", spec, *AGAIN, "--set", "algorithm.gamma=0.9").code == 0  # an empty folder will do
    said = []
    for forget in ("nothing", "summary.json", "checkpoints"):  # as it ended, as it may be gone on with, as it began
        if forget == "checkpoints":
            (tmp_path / "run" / forget).rename(tmp_path / "elsewhere")
        else:
            (tmp_path / "run" / forget).unlink(missing_ok=True)
        refused = rl2("train", spec, *AGAIN, "--seed", 3)
        assert (refused.code, refused.stdout) == (2, "")
        said.append(refused.stderr)
    expected = "a run of another spec: seed is 1 there and 3 here; algorithm.gamma is 0.9 there and 0.99 here\n"
    assert expected in said[0]
    assert said[0] == said[1] == said[2]


def test_a_folder_of_something_else_is_refused(rl2: Rl2, spec: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("")
    refused = rl2("train", spec, *AGAIN)
    assert (refused.code, "this folder is not empty: it holds thesis.tex" in refused.stderr) == (2, True)


def test_a_start_that_was_killed_while_it_wrote_the_spec(rl2: Rl2, spec: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in (".lock", ".lock-holder", ".resolved.toml.77.tmp", "spec.toml"):
        (run / name).write_text("{}")
    assert rl2("train", spec, "--run-dir", "run").code == 2
    began = rl2("train", spec, *AGAIN)
    assert began.code == 0, began.stderr
    assert (run / "spec.toml").read_text() == spec.read_text()
    assert not (run / ".resolved.toml.77.tmp").exists()


def test_damaged_checkpoints_are_not_begun_anew(rl2: Rl2, spec: Path, tmp_path: Path) -> None:
    assert rl2("train", spec, *AGAIN).code == 0
    (tmp_path / "run" / "summary.json").unlink()
    for manifest in (tmp_path / "run" / "checkpoints").glob("*/manifest.json"):
        manifest.write_text("{}")
    assert [rl2("train", spec, *AGAIN).code for _ in range(2)] == [6, 6]


def test_a_finish_that_was_not_saved_is_made_up_for(rl2: Rl2, spec: Path, tmp_path: Path) -> None:
    assert rl2("train", spec, *AGAIN).code == 0
    run = tmp_path / "run"
    saved = digest(run)
    newest = max((run / "checkpoints").glob("0*"))
    newest.rename(tmp_path / newest.name)  # as a full disk would have it
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "unsaved": "the disk is full"}))
    assert rl2("train", spec, *AGAIN).code == 0
    assert digest(run) == saved


@needs_signals
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(getattr(signal, "SIGKILL", 9), -9, marks=pytest.mark.slow)]
)
def test_a_signal_and_the_same_command(tmp_path: Path, whole: Digest, number: int, code: int) -> None:
    (tmp_path / "long.toml").write_text(LONG)
    checkpoints = tmp_path / "run" / "checkpoints"
    with training(tmp_path, "long.toml", *AGAIN) as process:
        wait_until(lambda: len(list(checkpoints.glob("0*"))) > 1, process)
        process.send_signal(number)
        if number == signal.SIGTERM:
            process.send_signal(number)  # schedulers may say it twice, through the shell and to every process
        _, said = process.communicate(timeout=300)
    assert process.returncode == code, said
    stopped = digest(tmp_path / "run").frames
    assert 0 < stopped < whole.frames
    with training(tmp_path, "long.toml", *AGAIN) as process:
        printed, said = process.communicate(timeout=900)
    assert (process.returncode, printed) == (0, "run\n"), said
    assert f"{stopped:,}" in said
    assert digest(tmp_path / "run") == whole


@needs_signals
def test_a_process_killed_before_its_first_checkpoint(tmp_path: Path, whole: Digest) -> None:
    rare = LONG.replace("every = 250", "every = 6_000")  # this decides nothing: the command below has it as it was
    (tmp_path / "long.toml").write_text(rare)
    run = tmp_path / "run"
    for _ in range(20):  # on a busy machine the seconds of this run can be over before it is killed
        with training(tmp_path, "long.toml", *AGAIN) as process:
            wait_until(lambda: RunFolder(run).metrics.exists() and RunFolder(run).metrics.stat().st_size > 0, process)
            process.kill()
            process.communicate()
        if not list((run / "checkpoints").glob("0*")):
            break
        shutil.rmtree(run)
    assert not list((run / "checkpoints").glob("0*"))
    (run / "notes.txt").write_text("mine")
    log = (run / "log.txt").read_text() if (run / "log.txt").exists() else ""
    (tmp_path / "long.toml").write_text(LONG)
    with training(tmp_path, "long.toml", *AGAIN) as process:
        printed, said = process.communicate(timeout=900)
    assert (process.returncode, printed) == (0, "run\n"), said
    assert "the run in run had not saved anything yet: it begins anew" in said
    assert digest(run) == whole
    assert (run / "notes.txt").read_text() == "mine"
    assert (run / "log.txt").read_text().startswith(log)


def test_the_same_command_beside_a_running_one(rl2: Rl2, spec: Path, tmp_path: Path) -> None:
    assert rl2("train", spec, *AGAIN).code == 0
    (tmp_path / "run" / "summary.json").unlink()
    with RunFolder.open(tmp_path / "run") as folder:
        folder.lock()
        refused = rl2("train", spec, *AGAIN)
    assert (refused.code, f"another process (process {os.getpid()}) is writing" in refused.stderr) == (2, True)


@pytest.mark.slow
def test_a_group_of_seeds(rl2: Rl2, spec: Path, tmp_path: Path) -> None:
    def train(*words: object) -> Any:
        return rl2("train", spec, *AGAIN, "--json", "-q", *words)

    whole = json.loads(train("--seeds", 2).stdout)
    assert [each["status"] for each in whole["runs"]] == ["finished", "finished"]
    first, second = tmp_path / "run" / "s1", tmp_path / "run" / "s2"
    digests = digest(first), digest(second)
    for path in sorted(second.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    again = json.loads(train("--seeds", 2).stdout)
    assert (digest(first), digest(second)) == digests
    assert again["evaluation"] == whole["evaluation"]
    other = train("--seeds", 3)
    assert (other.code, "holds the seeds 1 to 2, 2 of them" in other.stdout) == (2, True)
    other = train("--seeds", 2, "--set", "algorithm.gamma=0.5")
    assert (other.code, "algorithm.gamma is 0.99 there and 0.5 here" in other.stdout) == (2, True)
