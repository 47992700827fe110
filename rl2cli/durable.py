"""Files that survive a crash: written in full and pushed to the disk, or not there at all. Torch-free."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rl2cli.errors import StorageError, UsageError

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space; what was saved before is intact"),
    getattr(errno, "EDQUOT", errno.ENOSPC): ("the disk quota is used up", "free some space, or raise the quota"),
    errno.EFBIG: ("the file is larger than is allowed here", "raise the limit on file sizes (`ulimit -f`)"),
    errno.EROFS: ("the disk is read-only", "choose a folder that can be written to"),
    errno.EACCES: ("permission denied", "choose a folder that can be written to"),
    errno.EPERM: ("permission denied", "choose a folder that can be written to"),
    errno.EIO: ("the disk reports an I/O error", "check the disk; what was saved before is on it"),
    errno.EMFILE: ("too many open files", "raise the limit (`ulimit -n`)"),
}
_CHECK = "check that the disk works, and that you may read and write there"
_FOLDER_SYNC_UNSUPPORTED = {errno.EINVAL, errno.EBADF, getattr(errno, "ENOTSUP", errno.EINVAL)}


def storage_error(error: OSError, doing: str) -> StorageError:
    """Return what to tell the user about `error`, which came up while `doing` (`saving frame 100`)."""
    reason, hint = _REASONS.get(error.errno or 0, (error.strerror or type(error).__name__, _CHECK))
    place = str(error.filename) if error.filename else None
    return StorageError(f"{doing} failed: {reason}", hint=hint, place=place)


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn an `OSError` of the block into a `StorageError` that says what was being done."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing) from error


def fsync_folder(folder: Path) -> None:
    """Push the folder's own list of names to the disk, where the platform and file system have that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _FOLDER_SYNC_UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, so that they are there after a power cut too."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in made:
        fsync_folder(folder.parent)


def write_new_file(path: Path, content: bytes) -> None:
    """Write a file that must not exist yet, and push it to the disk."""
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def require_new_file(path: Path) -> None:
    """Check that a file can be made at `path`, which a user named, and nothing is there that would be lost.

    Raises:
        UsageError: There is something, or no folder for it.
    """
    if path.exists() or path.is_symlink():
        raise UsageError(
            "there is a file already" if path.is_file() else "there is something already",
            hint="rl2 overwrites nothing: name another file, or remove this one",
            place=str(path),
        )
    if not path.parent.is_dir():
        raise UsageError("there is no such folder", hint="make it first", place=str(path.parent))


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Replace `path` in one step: whoever opens it sees the old content or the new, also after a power cut.

    Raises:
        StorageError: the disk refused; the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(f"writing {path.name}"):
        temporary.unlink(missing_ok=True)
        try:
            write_new_file(temporary, content)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def write_text_atomic(path: Path, text: str) -> None:
    """Replace a text file in one step, as UTF-8, with the same line ends on every platform.

    Raises:
        StorageError: the disk refused; the old file is as it was.
    """
    write_bytes_atomic(path, text.encode("utf-8", "backslashreplace"))


def open_regular(path: Path, flags: int, *, buffering: int = -1) -> BinaryIO:
    """Open a regular file with `os.open` flags, following no link and waiting for no pipe.

    Raises:
        OSError: it cannot be opened, or is a link, a folder or a device.
    """
    if not hasattr(os, "O_NOFOLLOW") and path.is_symlink():
        raise OSError(errno.ELOOP, "is a link", str(path))
    extra = ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC", "O_NOINHERIT")
    descriptor = os.open(path, flags | sum(getattr(os, name, 0) for name in extra), 0o644)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        return os.fdopen(descriptor, "r+b" if flags & os.O_RDWR else "rb", buffering=buffering)
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file, following no link; at most `max_bytes` and one more byte of it.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with open_regular(path, os.O_RDONLY) as file:
        return file.read(min(os.fstat(file.fileno()).st_size, max_bytes) + 1)
