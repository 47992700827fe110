"""What the recipes train in tests."""

from __future__ import annotations

from pathlib import Path

from long_run import LONG

RECIPES = Path(__file__).resolve().parents[2] / "runs" / "clusters"
LEARNERS = "\n[scale]\ngradient_shards = 2\n"
"""More of the spec, for several learners."""
SHARDS = '\n[scale]\nengine = "local"\nenvs_per_worker = 2\n'
"""More of it, for workers."""


def write_spec(folder: Path, more: str = "") -> str:
    """Write the spec into `folder` and return its name."""
    (folder / "long.toml").write_text(LONG + more)
    return "long.toml"


def checkpoints(run: Path) -> int:
    """Return how many checkpoints a run has so far."""
    return len(list((run / "checkpoints").glob("0*")))
