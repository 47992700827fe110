"""What the tests of the recipes share with those of the commands."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "cli"))
