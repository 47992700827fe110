"""`python -m rl2cli` is `rl2`."""

from __future__ import annotations

import sys

from rl2cli.interpreter import leave_current_folder

if __name__ == "__main__":
    leave_current_folder()
    from rl2cli.cli import main

    sys.exit(main())
