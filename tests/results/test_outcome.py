"""What may be written over, and what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl2cli.errors import UsageError
from rl2cli.results.outcome import require_writable, write
from rl2cli.results.page import page

BY = "rl2 report"


def test_an_earlier_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write(path, page("one", [], by=BY).encode(), BY)
    write(path, page("two", [], by=BY).encode(), BY)
    assert "<title>two</title>" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"my notes on rl2 report", page("x", [], by="rl2 compare").encode()])
def test_anything_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="did not write it"):
        write(path, b"new", BY)
    assert path.read_bytes() == content


def test_folders_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did not write it"):
        require_writable(tmp_path, BY)
    with pytest.raises(UsageError, match="no such folder"):
        require_writable(tmp_path / "missing" / "report.html", BY)
