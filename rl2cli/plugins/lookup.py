"""Which kept names count here: those of the project that this folder belongs to, then the user's own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rl2cli.plugins.grants import is_trusted, read_trusted
from rl2cli.plugins.kept import Kept, Registration, project_file, read, user_file

_starts: list[Path] = []


@dataclass(frozen=True)
class Found:
    """A kept name, and whether its module may be imported."""

    registration: Registration
    trusted: bool


def look_from(folder: Path) -> None:
    """Look for a project's file above `folder` too, of a spec or a run elsewhere, after the current folder's."""
    if folder not in _starts:
        _starts.append(folder)


def project_files() -> list[Path]:
    """Return the files of the projects that count here, the current folder's first."""
    found = [project_file(), *(project_file(start) for start in _starts)]
    return list(dict.fromkeys(file for file in found if file is not None))


def kept_files() -> list[tuple[Kept, bool]]:
    """Return every file that counts here, and whether it is trusted; the project's before the user's."""
    projects = [read(file) for file in project_files()]
    return [*((kept, is_trusted(kept.file, kept.content)) for kept in projects), (read(user_file()), True)]


def registrations(kind: str) -> list[Found]:
    """Return the kept names of a kind, the ones that win first; trusted ones before those that are not."""
    found = [Found(each, trusted) for kept, trusted in kept_files() for each in kept.registrations if each.kind == kind]
    return sorted(found, key=lambda each: not each.trusted)


def problems() -> list[str]:
    """Return what is wrong with the files that count here, in words."""
    return [problem for kept, _ in kept_files() for problem in kept.problems]


def trusted_modules() -> dict[str, Path | None]:
    """Return each module that this user registered, or granted, with the folder that it may lie in."""
    found: dict[str, Path | None] = {}
    for kept, trusted in kept_files():
        for each in kept.registrations if trusted else ():
            found.setdefault(each.module, each.folder)
    return found


def known_elsewhere(kind: str, name: str) -> Path | None:
    """Return another trusted project of this user's where `name` is registered."""
    for path in sorted(read_trusted()):
        kept = read(Path(path))
        if is_trusted(kept.file, kept.content) and any(
            (each.kind, each.name) == (kind, name) for each in kept.registrations
        ):
            return kept.file
    return None


def append_to_path(folder: Path | str | None) -> None:
    """Let modules in `folder` be found after all others; worker processes start with the same path."""
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))
