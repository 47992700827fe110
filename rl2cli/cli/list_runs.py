"""`rl2 list runs`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rl2cli.cli.output import emit_json, emit_lines, note
from rl2cli.reporting.figures import count, duration, significant
from rl2cli.results.run_record import RunRecord
from rl2cli.text import display_width, shortened
from rl2cli.training.run_folder import runs_in

OUTPUTS = Path("outputs")
_HEADINGS = ("name", "environment", "algorithm", "frames", "best", "age", "state", "run")
_RIGHT = {"frames", "best", "age"}
_WIDEST = 40


def list_runs(containing: str, *, as_json: bool) -> None:
    """Print a row for each run under `outputs` whose row contains a text, newest first."""
    now = datetime.now(UTC)
    found = sorted((_facts(RunRecord(path), now) for path in runs_in(OUTPUTS)), key=_newest, reverse=True)
    runs = [run for run in found if _contains(run, containing.casefold())]
    if as_json:
        return emit_json({"runs": runs})
    if not runs:
        return note(f"no run under {OUTPUTS} contains {containing!r}" if found else f"there is no run under {OUTPUTS}")
    emit_lines(aligned([_HEADINGS, *map(_cells, runs)], right={_HEADINGS.index(name) for name in _RIGHT}))


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Return rows of cells as lines with even columns; those at the positions `right` end at the same column."""
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    to_right = set(right)
    return [
        "  ".join(_padded(*cell, to_right) for cell in zip(row, widths, range(len(row)), strict=True)).rstrip()
        for row in rows
    ]


def _padded(cell: str, width: int, position: int, right: set[int]) -> str:
    spaces = " " * (width - display_width(cell))
    return spaces + cell if position in right else cell + spaces


def _facts(run: RunRecord, now: datetime) -> dict[str, Any]:
    best = run.best
    return {
        "name": run.name,
        "environment": run.environment,
        "algorithm": run.algorithm,
        "seed": run.seed,
        "frames": run.frames,
        "total_frames": run.total_frames,
        "best_return": None if best is None else best.mean_return,
        "started": run.started.isoformat() if run.started else None,
        "age_seconds": (now - run.started).total_seconds() if run.started else None,
        "state": run.state,
        "run_dir": str(run.path),
    }


def _newest(run: dict[str, Any]) -> tuple[str, str]:
    return run["started"] or "", run["run_dir"]


def _contains(run: dict[str, Any], text: str) -> bool:
    return any(text in str(run[key]).casefold() for key in ("name", "environment", "algorithm", "state", "run_dir"))


def _cells(run: dict[str, Any]) -> list[str]:
    frames, total, best, age = (run[key] for key in ("frames", "total_frames", "best_return", "age_seconds"))
    progress = "-" if frames is None else count(frames)
    if total is not None and (frames or 0) < total:
        progress += f" of {count(total)}"
    return [
        *(shortened(run[key], _WIDEST) for key in ("name", "environment", "algorithm")),
        progress,
        "-" if best is None else significant(best),
        "-" if age is None else duration(max(0.0, age)),
        run["state"],
        run["run_dir"],
    ]
