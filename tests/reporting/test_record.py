"""Record files hold whole lines only, whatever happens to the process or the disk."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rl2cli.errors import StorageError
from rl2cli.reporting.record import RecordFile, to_json


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_are_written_on_flush_and_close(path: Path) -> None:
    with RecordFile(path) as record:
        record.append({"frames": 1, "loss": 0.1})
        assert record.offset == 0
        assert record.flush(fsync=True) == path.stat().st_size == record.offset
        record.append({"frames": 2})
    assert rows(path) == [{"frames": 1, "loss": 0.1}, {"frames": 2}]


def test_reopening_appends(path: Path) -> None:
    for frames in (1, 2):
        with RecordFile(path) as record:
            record.append({"frames": frames})
    assert rows(path) == [{"frames": 1}, {"frames": 2}]


def test_numbers_that_json_lacks() -> None:
    row = {
        "a": float("nan"),
        "b": [-np.inf, np.float32(0.5)],
        "c": torch.tensor(3),
        "d": np.float64("inf"),
        "e": (True,),
    }
    assert json.loads(to_json(row)) == {"a": "nan", "b": ["-inf", 0.5], "c": 3, "d": "inf", "e": [True]}


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        to_json({"a": object()})


def test_truncate_drops_later_rows_and_pending_ones(path: Path) -> None:
    with RecordFile(path) as record:
        record.append({"frames": 1})
        offset = record.flush()
        record.append({"frames": 2})
        record.flush()
        record.append({"frames": 3})
        assert record.truncate_to(offset) is None
        assert record.offset == offset
        record.append({"frames": 4})
    assert rows(path) == [{"frames": 1}, {"frames": 4}]


def test_truncate_says_when_the_file_is_shorter(path: Path) -> None:
    with RecordFile(path) as record:
        record.append({"frames": 1})
        record.flush()
        problem = record.truncate_to(1000)
        record.append({"frames": 2})
    assert problem is not None
    assert "1000" in problem
    assert rows(path) == [{"frames": 1}, {"frames": 2}]


def test_truncate_says_when_the_offset_is_inside_a_line(path: Path) -> None:
    path.write_text('{"frames": 1}\n{"frames": 22222}\n')
    with RecordFile(path) as record:
        problem = record.truncate_to(20)
    assert problem is not None
    assert "20" in problem
    assert rows(path) == [{"frames": 1}]


@pytest.mark.parametrize("tail", ['{"frames": 2', "x" * 200_000])
def test_unfinished_last_line_is_removed(path: Path, tail: str) -> None:
    path.write_text('{"frames": 1}\n' + tail)
    RecordFile(path).close()
    assert rows(path) == [{"frames": 1}]


def test_full_disk_keeps_whole_lines_and_the_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def half_then_full(descriptor: int, content: memoryview) -> int:
        if len(content) < 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content[: len(content) // 2])

    with RecordFile(path) as record:
        record.append({"frames": 1})
        record.flush()
        record.append({"frames": 2})
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half_then_full)
            with pytest.raises(StorageError, match="disk is full"):
                record.flush()
        assert rows(path) == [{"frames": 1}]
    assert rows(path) == [{"frames": 1}, {"frames": 2}]


def test_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine\n")
    path.symlink_to(elsewhere)
    with pytest.raises(StorageError):
        RecordFile(path)
    assert elsewhere.read_text() == "mine\n"


def test_link_is_not_followed_without_posix(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_NOFOLLOW")
    test_link_is_not_followed(path, tmp_path)


def test_missing_folder_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"metrics\.jsonl"):
        RecordFile(tmp_path / "absent" / "metrics.jsonl")


def test_the_rows_after_some_frames(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with RecordFile(path) as record:
        for frames in range(20_000):  # several blocks
            record.append({"frames": frames, "loss": math.nan, "return": None})
        record.flush()
        found = record.rows_after(9_989)
        assert [row["frames"] for row in found] == list(range(9_990, 20_000))
        assert found[0] == {"frames": 9_990, "loss": "nan", "return": None}
        assert len(record.rows_after(-1)) == 20_000
        assert record.rows_after(20_000) == []


@pytest.mark.parametrize("line", ["[1]", '{"frames": "3"}', '{"frames": 3, "a": [1]}', "{", '{"frames": 3, "a": "x"}'])
def test_what_is_no_row_ends_them(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"frames": 1}\n' + line + '\n{"frames": 4}\n{"frames": 5}\n')
    with RecordFile(path) as record:
        assert [row["frames"] for row in record.rows_after(0)] == [4, 5]


def test_the_hash_follows_what_is_written(path: Path) -> None:
    with RecordFile(path) as record:
        assert record.sha256() == hashlib.sha256(b"").hexdigest()
        for frames in range(3):
            record.append({"frames": frames})
            record.flush()
            assert record.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
        record.truncate_to(24)
        assert record.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes().replace(b"0", b"7"))
    with RecordFile(path) as record:
        assert record.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
