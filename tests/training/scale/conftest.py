"""Parts that the tests of `tests/training` share."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
