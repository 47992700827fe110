"""The run that an argument means, said where it was not named in full."""

from __future__ import annotations

from pathlib import Path

from rl2cli.cli.output import note
from rl2cli.training.run_folder import FoundRun, find_run


def find(where: str | None, *, quiet: bool = False) -> FoundRun:
    """Return the run that `where` means, and say which it is where that was left open.

    Raises:
        UsageError: there is no such run.
    """
    found = find_run(where)
    is_named = where is not None and Path(where).absolute() == found.path.absolute()
    if not is_named and found.checkpoint is None and not quiet:
        note(f"using the run {found.path}")
    return found
