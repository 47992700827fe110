"""The command line: one file per command, imported when it is used."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `rl2` with `arguments`, those of the process where left out, and return its exit code."""
    from rl2cli.cli.dispatch import run

    return run(sys.argv[1:] if arguments is None else arguments)
