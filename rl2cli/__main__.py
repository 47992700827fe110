"""`python -m rl2cli` is `rl2`."""

from __future__ import annotations

import sys

from rl2cli.cli import main

if __name__ == "__main__":
    sys.exit(main())
