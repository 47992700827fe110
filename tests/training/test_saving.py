"""A disk that refuses: training goes on or stops, says so once, and what was saved before stays."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small_runs import checkpoints, differences, learned, newest, rows, spec, train

import rl2cli
from rl2cli import durable
from rl2cli.errors import StorageError
from rl2cli.reporting import record, tensorboard
from rl2cli.reporting.record import RecordFile
from rl2cli.reporting.tensorboard import TensorBoardWriter
from rl2cli.training import checkpoint_format, session
from rl2cli.training.checkpoint_writer import CheckpointWriter
from rl2cli.training.trainer import Trainer

EVERY = 256
SETTINGS: dict[str, Any] = {"evaluation": {"every": 1024}, "checkpoint": {"every": EVERY}, "total_frames": 1024}


@contextmanager
def full_disk(patch: pytest.MonkeyPatch, saves: tuple[int, ...]) -> Iterator[None]:
    """Refuse the first, second and so on checkpoint."""
    real = durable.write_new_file
    seen: list[str] = []

    def write(path: Path, content: bytes) -> None:
        if path.parent.name not in seen:
            seen.append(path.parent.name)
        if seen.index(path.parent.name) + 1 in saves:
            path.write_bytes(content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, content)

    with patch.context() as inner:
        inner.setattr(checkpoint_format, "write_new_file", write)
        yield


def test_a_full_disk_ends_nothing_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train(tmp_path, spec(**SETTINGS), "plain")
    frames = checkpoints(train(tmp_path, spec(**{**SETTINGS, "checkpoint": {"every": EVERY, "keep": 9}}), "all"))
    capsys.readouterr()
    with full_disk(monkeypatch, (2, 3)):
        summary = rl2cli.train(spec(**SETTINGS), run_dir=tmp_path / "full", view="quiet")
    (warning,) = capsys.readouterr().err.splitlines()
    assert f"saving the checkpoint of frame {frames[1]} failed: the disk is full (free some space" in warning
    assert "training goes on" in warning
    assert f"the newest checkpoint on the disk is that of frame {frames[0]}" in warning
    assert summary.unsaved is None
    assert checkpoints(tmp_path / "full") == [frames[0], frames[-1]]
    assert list(differences(learned(plain), learned(tmp_path / "full"))) == []
    assert (plain / "metrics.jsonl").read_bytes() == (tmp_path / "full" / "metrics.jsonl").read_bytes()
    events = [row for row in rows(tmp_path / "full" / "timings.jsonl") if row["event"] == "save failed"]
    assert [row["frames"] for row in events] == frames[1:3]


def test_a_run_whose_end_is_not_saved_fails_with_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    with full_disk(monkeypatch, (3, 4)), pytest.raises(StorageError) as caught:
        rl2cli.train(spec(**SETTINGS), run_dir=run)
    saved = checkpoints(run)
    assert f"failed: the disk is full; the newest checkpoint on the disk is that of frame {saved[-1]}" in str(
        caught.value
    )
    assert f"then go on with: rl2 resume {run}" in str(caught.value.hint)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert len(saved) == 2
    assert "the disk is full" in summary["unsaved"]
    assert summary["best"] is None  # the only evaluation was that of the policy that is lost
    assert not list((run / "checkpoints").glob(".*"))
    session.resume(str(run), view=rl2cli.api.make_view("quiet"))
    plain = train(tmp_path, spec(**SETTINGS), "plain")
    assert list(differences(learned(plain), learned(run))) == []


def test_a_run_may_stop_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    settings = spec(**{**SETTINGS, "checkpoint": {"every": EVERY, "on_storage_error": "stop"}})
    with full_disk(monkeypatch, (2,)), pytest.raises(StorageError, match="failed: the disk is full") as caught:
        rl2cli.train(settings, run_dir=run)
    (saved,) = checkpoints(run)
    assert f"that of frame {saved} of" in str(caught.value)
    assert newest(run).frames == saved
    assert json.loads((run / "summary.json").read_text())["status"] == "failed"


def test_the_last_save_is_tried_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failed = checkpoint_format.write_new_file, []

    def write(path: Path, content: bytes) -> None:
        if int(path.parent.name.rpartition("-")[2]) >= 1024 and not failed:
            failed.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        real(path, content)

    monkeypatch.setattr(checkpoint_format, "write_new_file", write)
    run = train(tmp_path, spec(**SETTINGS))
    assert failed
    assert f"{checkpoints(run)[-1]:015}" == failed[0].parent.name.rpartition("-")[2]


def test_a_best_policy_that_was_not_saved_is_not_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = spec(**{**SETTINGS, "evaluation": {"every": EVERY}})
    with full_disk(monkeypatch, (1, 2, 3)):
        summary = rl2cli.train(settings, run_dir=tmp_path / "run")
    assert summary.best is not None
    assert summary.best.frames == summary.frames
    assert summary.best_checkpoint is not None
    assert Path(summary.best_checkpoint).is_dir()


def test_a_full_disk_for_records_ends_nothing_and_loses_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train(tmp_path, spec(), "plain")
    capsys.readouterr()
    real, count = os.write, iter(range(10**6))

    def write(descriptor: int, content: Any) -> int:
        if next(count) % 2 == 0:
            real(descriptor, bytes(content[:3]))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, content)

    with monkeypatch.context() as patch:
        patch.setattr(record.os, "write", write)
        rl2cli.train(spec(), run_dir=tmp_path / "run", view="quiet")
    assert 1 <= len(capsys.readouterr().err.splitlines()) <= 3
    assert (plain / "metrics.jsonl").read_bytes() == (tmp_path / "run" / "metrics.jsonl").read_bytes()
    assert rows(tmp_path / "run" / "timings.jsonl")


def test_a_torn_row_that_could_not_be_cut_is_cut_by_the_next_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = RecordFile(tmp_path / "rows.jsonl"), os.write

    def refuse(*_: Any) -> Any:
        raise OSError(errno.EIO, "no")

    def tear(descriptor: int, content: Any) -> int:
        real(descriptor, bytes(content[:3]))
        return int(refuse())

    with monkeypatch.context() as patch:
        patch.setattr(record.os, "write", tear)
        patch.setattr(record.os, "ftruncate", refuse)
        file.append({"one": 1})
        with pytest.raises(StorageError):
            file.flush()
    assert (tmp_path / "rows.jsonl").read_bytes() == b'{"o'
    file.flush()
    file.close()
    assert (tmp_path / "rows.jsonl").read_bytes() == b'{"one": 1}\n'


def test_points_that_a_full_disk_refused_are_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = TensorBoardWriter(tmp_path)
    writer.scalars(1, {"a": 1.0})
    writer.flush()
    (file,) = tmp_path.glob("events.out.tfevents.*")
    size = file.stat().st_size
    writer.scalars(2, {"a": 2.0})
    assert writer._file is not None
    real = writer._file._file

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def write(self, content: Any) -> int:
            real.write(bytes(content[:5]))
            raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(writer._file, "_file", Full())
        with pytest.raises(StorageError):
            writer.flush()
    assert file.stat().st_size == size  # no torn record, which would hide all that come after it
    writer.close()
    assert tensorboard
    assert file.stat().st_size > size


def test_a_save_that_is_due_waits_for_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, behind = [0], []
    learn, write = Trainer.learn, CheckpointWriter.write

    def counted_learn(trainer: Trainer, trajectories: Any) -> None:
        learn(trainer, trajectories)
        trained[0] = trainer.frames

    def slow_write(writer: CheckpointWriter, snapshot: Any, *arguments: Any) -> None:
        patience = time.monotonic() + 30
        while (
            snapshot.frames < 1024 and trained[0] // EVERY == snapshot.frames // EVERY and time.monotonic() < patience
        ):
            time.sleep(0.002)
        time.sleep(0.05)  # the next save is due, and training would go on if that did not wait
        write(writer, snapshot, *arguments)
        behind.append(trained[0] - snapshot.frames)

    monkeypatch.setattr(Trainer, "learn", counted_learn)
    monkeypatch.setattr(CheckpointWriter, "write", slow_write)
    train(tmp_path, spec(**SETTINGS))
    assert len(behind) >= 4
    assert all(0 < frames <= EVERY + 128 for frames in behind[:-1])  # an interval, and an iteration
