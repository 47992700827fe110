"""`rl2 bench`."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Annotated

import typer

from rl2cli.benchmarks.bench import Bench
from rl2cli.benchmarks.comparison import Comparison
from rl2cli.benchmarks.idleness import measure_idleness
from rl2cli.benchmarks.peer import INSTALL, PYTHON_VARIABLE, Peer, find_peer
from rl2cli.benchmarks.processes import ended_by_sigterm
from rl2cli.benchmarks.rows import ROWS, measure
from rl2cli.cli.output import emit, emit_json, note
from rl2cli.cli.parameters import AsJson, Quiet, whole_number
from rl2cli.errors import UsageError, suggestion
from rl2cli.reporting.figures import significant

FEWEST_FRAMES = 256
"""One rollout at the settings whose speed is measured."""
OWN_LIBRARIES = ("rl2cli", "torch", "numpy", "gymnasium")
ON_REQUEST = [name for name, row in ROWS.items() if not row.by_default]
HEADINGS = ("row", "rl2", "peer", "ratio", "must", "aim", "verdict")


def bench(
    rows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ROW",
            help=f"What to measure: {', '.join(ROWS)}; all but {', '.join(ON_REQUEST)}, which is long, where left out.",
        ),
    ] = None,
    peer_python: Annotated[
        str | None,
        typer.Option(
            "--peer-python",
            metavar="PATH",
            help=f"Python that has stable-baselines3 and, for SAC, sbx-rl; {PYTHON_VARIABLE} or this one if left out.",
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option("--repeats", parser=whole_number, metavar="N", help="Measurements of each kind; medians count."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option("--frames", parser=whole_number, metavar="N", help="Frames over which a speed is measured."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Measure rl2 against other libraries on this machine.

    Both sides take turns and medians are compared. The exit code is 1 where a row misses what it must reach.
    """
    names = _rows(rows or [])
    if (repeats is not None and repeats < 1) or (frames is not None and frames < FEWEST_FRAMES):
        raise UsageError(
            f"--repeats is at least 1 and --frames at least {FEWEST_FRAMES}",
            hint="leave them out for what is measured usually",
        )
    from rl2cli.spec import shipped_folder

    idleness = measure_idleness()
    warning = idleness.warning()
    if warning:
        note(f"warning: {warning}")
    with ended_by_sigterm():
        peer = find_peer(peer_python)
        if peer is None:
            note("Stable-Baselines3 is not installed here, so rl2 is measured alone; to compare:")
            note(f"  {INSTALL}")
            note("  rl2 bench --peer-python peers/bin/python")
        work = Bench(shipped_folder(), peer, (lambda line: None) if quiet else note, repeats, frames)
        found = [comparison for name in names for comparison in measure(work, name)]
    machine = _machine(peer) | {"load": idleness.load, "core_share": round(idleness.share, 3)}
    if as_json:
        emit_json({"machine": machine, "warning": warning, "rows": [comparison.to_json() for comparison in found]})
    else:
        emit("\n".join([*_heading(machine, warning), "", *table(found), *_remarks(found)]))
    return int(any(comparison.verdict in ("missed", "failed") for comparison in found))


bench.epilog = (  # type: ignore[attr-defined]  # read by the dispatcher, which hands it to Typer
    "Examples:\n\n\b\n"
    "rl2 bench --peer-python peers/bin/python\n"
    "rl2 bench cartpole-zoo start-up --repeats 5\n"
    "rl2 bench sac-halfcheetah --peer-python peers/bin/python\n"
    "rl2 bench --json > bench.json"
)


def table(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the lines of a table of medians, columns aligned."""
    cells = [HEADINGS, *(_cells(comparison) for comparison in comparisons)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cells(comparison: Comparison) -> tuple[str, ...]:
    bar, unit = comparison.bar, comparison.unit
    sign = "≤" if bar.lower_is_better else "≥"
    goals = [f"{sign} {goal:g} ×" if bar.of_ratio else f"{sign} {goal:g} {unit}" for goal in (bar.must, bar.aim)]
    peer = comparison.peer
    return (
        comparison.name,
        "-" if comparison.ours is None else _figure(comparison.ours, unit),
        "-" if peer is None else f"{_figure(peer[1], unit)} ({peer[0]})",
        "-" if comparison.ratio is None else f"{comparison.ratio:.3g} ×",
        *goals,
        comparison.verdict,
    )


def _figure(number: float, unit: str) -> str:
    if not math.isfinite(number):
        return "never"
    return f"{number:.2f} {unit}" if unit in ("s", "min") else f"{number:,.0f} {unit}"


def _remarks(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what the table has no room for: medians of both sides' other figures, and errors."""
    lines: list[str] = []
    for comparison in comparisons:
        inner = [
            f"  {name}: {_spread(figures)}" for name, figures in {**comparison.samples, **comparison.details}.items()
        ]
        inner += [f"  error: {line}" for line in (comparison.error or "").splitlines()]
        lines += ["", f"{comparison.name}: {comparison.what}", *inner]
    return lines


def _spread(figures: Sequence[float]) -> str:
    if not figures:
        return "-"
    middle, low, high = (significant(figure) for figure in (median(figures), min(figures), max(figures)))
    return middle if len(figures) == 1 else f"{middle} ({low} to {high}, {len(figures)} measurements)"


def _machine(peer: Peer | None) -> dict[str, object]:
    from rl2cli.training.machine_facts import cpu_model, versions

    own = {name: version for name, version in versions().items() if name in OWN_LIBRARIES}
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "os": platform.platform(),
        "rl2": {"python": platform.python_version()} | own,
        "peer": None if peer is None else peer.versions,
    }


def _heading(machine: Mapping[str, object], warning: str | None) -> list[str]:
    lines = [f"{machine['cpu']}, {machine['cores']} cores, {machine['os']}"]
    for side in ("rl2", "peer"):
        libraries = machine[side]
        if isinstance(libraries, dict):
            lines.append(f"{side:<5}" + ", ".join(f"{name} {version}" for name, version in libraries.items()))
    return [*lines, f"warning: {warning}"] if warning else lines


def _rows(wanted: Sequence[str]) -> list[str]:
    """Return the rows to measure, in the table's order.

    Raises:
        UsageError: There is no row of that name.
    """
    for name in wanted:
        if name not in ROWS:
            hint = suggestion(name, ROWS) or f"the rows are: {', '.join(ROWS)}"
            raise UsageError(f"unknown row {name!r}", hint=hint)
    return [name for name, row in ROWS.items() if (name in wanted if wanted else row.by_default)]
