"""`rl2 compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rl2cli.cli.output import emit_json, emit_lines, note
from rl2cli.cli.parameters import AsJson, Quiet
from rl2cli.errors import UsageError, suggestion

if TYPE_CHECKING:
    from rl2cli.results.comparison import Compared, Estimate
    from rl2cli.results.run_record import RunRecord

BY = "rl2 compare"
FORMATS = {".png": "png", ".svg": "svg", ".html": "svg"}
"""End of a file's name → format of the picture."""
DEFAULT_METRIC = "evaluation/mean_return"
_HEADINGS = ("label", "environment", "algorithm", "seeds", "frames", "final", "best", "frames/s", "time")
_WIDEST = 60
_MOST_NOTES = 5


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Runs, folders that contain runs, or names under outputs."),
    ],
    axis: Annotated[
        str, typer.Option("--x", metavar="AXIS", help="What the curves go over: frames, or time.")
    ] = "frames",
    metric: Annotated[
        str, typer.Option("--metric", metavar="NAME", help="What the curves show, as it is called in metrics.jsonl.")
    ] = DEFAULT_METRIC,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Picture to write: .png, .svg or .html; comparison.png if left out."
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs in a table and a picture; runs that differ only in their seed are one line.

    That line is the interquartile mean over the seeds, with its 95 % bootstrap interval. With --json a picture is only
    made where --out names it.
    """
    from rl2cli.results.comparison import AXES
    from rl2cli.results.comparison import compare as compared_groups
    from rl2cli.results.groups import grouped
    from rl2cli.results.outcome import require_writable

    chosen = next((known for known in AXES if known == axis), None)
    if chosen is None:
        raise UsageError(f"--x takes frames or time, got {axis!r}", hint="for example --x time")
    picture = out if out is not None or as_json else Path("comparison.png")
    if picture is not None:
        _require_format(picture)
        require_writable(picture, BY)
    records = _records(runs)
    _require_metric(records, metric)
    for record in records:
        if record.is_too_long:
            note(f"warning: only the beginning of {record.folder.metrics} is read: it is very long")
    compared = compared_groups(grouped(records), metric, chosen)
    if not quiet:
        _note_left_out([text for one in compared for text in one.group.left_out])
    if picture is not None:
        _draw(picture, compared, metric, chosen)
    if as_json:
        emit_json({"metric": metric, "x": chosen, "groups": [one.to_json() for one in compared]})
    else:
        _print_table(compared)
    if picture is not None and not quiet:
        note(f"picture: {picture}")


def _records(names: Sequence[str]) -> list[RunRecord]:
    """Return the runs that the arguments mean, each once, those of a folder from the first started to the last.

    Raises:
        UsageError: one of them means none.
    """
    from rl2cli.results.run_record import RunRecord
    from rl2cli.training.run_folder import find_runs

    paths = {path.absolute(): path for name in names for path in find_runs(name)}
    return [RunRecord(path) for path in paths.values()]


def _require_format(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            "--out takes a .png, .svg or .html file", hint="the ending says what is written", place=str(path)
        )


def _require_metric(runs: Sequence[RunRecord], metric: str) -> None:
    """Refuse a metric that no run has; runs without one are shown as such."""
    names = {name: None for run in runs for name in run.metric_names()}
    if names and metric not in names:
        near = suggestion(metric, names) or f"there are: {', '.join(names)}"
        raise UsageError(f"no run has the metric {metric!r}", hint=near)


def _note_left_out(texts: Sequence[str]) -> None:
    for text in texts[:_MOST_NOTES]:
        note(f"left out: {text}")
    if len(texts) > _MOST_NOTES:
        note(f"left out: {len(texts) - _MOST_NOTES} more for that reason")


def _draw(path: Path, compared: Sequence[Compared], metric: str, axis: str) -> None:
    from rl2cli.results.comparison_page import comparison_page
    from rl2cli.results.drawing import draw_comparison
    from rl2cli.results.outcome import write

    title = title_of(compared)
    picture = draw_comparison(
        compared,
        metric="evaluation: mean return" if metric == DEFAULT_METRIC else metric,
        axis="time" if axis == "time" else "frames",
        title=title,
        format=FORMATS[path.suffix.lower()],
    )
    if path.suffix.lower() == ".html":
        picture = comparison_page(title, picture, _HEADINGS, [_cells(one) for one in compared], by=BY).encode("utf-8")
    write(path, picture, BY)


def title_of(compared: Sequence[Compared]) -> str:
    """Return what the groups have in common: the environment, and the algorithm where it is one."""
    environments = dict.fromkeys(one.group.first.environment for one in compared)
    algorithms = dict.fromkeys(one.group.first.algorithm for one in compared)
    shown = ", ".join(list(environments)[:3]) + (" and others" if len(environments) > 3 else "")
    return f"{shown}: {next(iter(algorithms))}" if len(algorithms) == 1 else shown


def _print_table(compared: Sequence[Compared]) -> None:
    from rl2cli.cli.list_runs import aligned

    emit_lines(aligned([_HEADINGS, *map(_cells, compared)], right=range(3, len(_HEADINGS))))


def _cells(one: Compared) -> list[str]:
    from rl2cli.reporting.figures import count, duration, rate
    from rl2cli.text import shortened

    run = one.group.first
    return [
        shortened(one.group.label, _WIDEST),
        run.environment,
        run.algorithm,
        str(len(one.group.runs)),
        "-" if one.frames is None else count(round(one.frames)),
        _estimate(one.final),
        _estimate(one.best),
        "-" if one.frames_per_second is None else rate(one.frames_per_second),
        "-" if one.seconds is None else duration(one.seconds),
    ]


def _estimate(estimate: Estimate | None) -> str:
    from rl2cli.reporting.figures import significant

    if estimate is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return significant(estimate.mean)
    return f"{significant(estimate.mean)} [{significant(estimate.low)}, {significant(estimate.high)}]"
