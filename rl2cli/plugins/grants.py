"""Which projects' `rl2.toml` this user relies on: a path and the hash of what it held then, in the user's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rl2cli.durable import explained, read_regular, write_text_atomic
from rl2cli.errors import StorageError
from rl2cli.plugins.kept import config_folder

_FILE = "trusted.json"
_MAX_BYTES = 4_000_000
LOCK_SECONDS = 20.0


def is_trusted(file: Path, content: bytes) -> bool:
    """Return whether this user wrote `file` with rl2, or trusted it, as it is now."""
    return read_trusted().get(str(file)) == _hash(content)


def read_trusted() -> dict[str, str]:
    """Return every trusted file with its hash; one that cannot be read trusts nothing."""
    try:
        data = json.loads(read_regular(config_folder() / _FILE, _MAX_BYTES))
        projects = data["projects"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return {}
    if not isinstance(projects, dict):
        return {}
    return {file: value for file, value in projects.items() if isinstance(value, str)}


def trust(file: Path, content: bytes) -> None:
    """Rely on `file` as long as it holds exactly `content`.

    Raises:
        StorageError: The user's folder cannot be written to.
    """
    with locked():
        trusted = {name: value for name, value in read_trusted().items() if Path(name).exists()}
        trusted[str(file)] = _hash(content)
        text = json.dumps({"projects": trusted}, indent=2, sort_keys=True) + "\n"
        write_text_atomic(config_folder() / _FILE, text)


@contextmanager
def locked(name: str = "trusted") -> Iterator[None]:
    """Hold this user's lock of that name; it lies in the user's folder, so that projects stay clean.

    Raises:
        StorageError: The folder cannot be written to, or somebody holds the lock for too long.
    """
    from filelock import FileLock, Timeout

    folder = config_folder()
    with explained(f"making the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{name}.lock", timeout=LOCK_SECONDS)
    try:
        with explained("locking rl2's settings"):
            lock.acquire()
    except Timeout:
        raise StorageError(
            f"another rl2 has been changing its settings for {LOCK_SECONDS:g} seconds",
            hint="try again once it is done",
            place=str(folder),
        ) from None
    try:
        yield
    finally:
        lock.release()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
