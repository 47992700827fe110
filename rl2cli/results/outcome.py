"""Files that `rl2 report` and `rl2 compare` write: never in the place of anything but an earlier one of theirs."""

from __future__ import annotations

from pathlib import Path

from rl2cli.durable import read_regular, write_bytes_atomic
from rl2cli.errors import UsageError

_HEAD = 4096


def require_writable(path: Path, by: str) -> None:
    """Refuse a file that stands where another was meant, before the work for it is done.

    Args:
        path: The file to write.
        by: The command whose earlier file may be replaced, which that one names in its first bytes.

    Raises:
        UsageError: something else is there, or there is no such folder.
    """
    if not path.parent.is_dir():
        raise UsageError("there is no such folder", hint="make it, or name another with --out", place=str(path.parent))
    if path.is_symlink() or (path.exists() and not _is_by(path, by)):
        raise UsageError(
            f"this is there already, and `{by}` did not write it",
            hint="name another file with --out, or remove this one",
            place=str(path),
        )


def write(path: Path, content: bytes, by: str) -> None:
    """Write the file in one step, replacing only an earlier one of the same command.

    Raises:
        UsageError: something else is there.
        StorageError: the disk refused.
    """
    require_writable(path, by)
    write_bytes_atomic(path, content)


def _is_by(path: Path, by: str) -> bool:
    """Return whether the file says that the command wrote it, in the way of HTML, PNG or SVG."""
    try:
        head = read_regular(path, _HEAD)
    except OSError:
        return False
    marks = (f'name="generator" content="{by} ', f"Software\0{by}", f"<dc:title>{by}<")
    return any(mark.encode() in head for mark in marks)
