"""The command line: one file per command, imported when it is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `rl2` with `arguments`, those of the process where left out, and return its exit code."""
    from rl2cli.cli.dispatch import run
    from rl2cli.cli.output import flush_all
    from rl2cli.cli.startup import is_preloading

    code = run(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and is_preloading():
        # An error ended this before torch was needed; leaving in the ordinary way would wait for its libraries.
        flush_all()
        os._exit(code)
    return code
