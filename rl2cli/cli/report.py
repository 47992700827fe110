"""`rl2 report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rl2cli.cli.found_run import find
from rl2cli.cli.output import emit_lines
from rl2cli.cli.parameters import Quiet, Run


def report(
    run: Run = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File to write instead of report.html in the run's folder."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a run as one HTML page that holds everything it shows, and print the page's name.

    An earlier report is replaced, any other file is not.
    """
    from rl2cli.results.outcome import require_writable, write
    from rl2cli.results.report import BY
    from rl2cli.results.report import report as as_page
    from rl2cli.results.run_record import RunRecord

    record = RunRecord(find(run, quiet=quiet).path)
    path = out or record.path / "report.html"
    require_writable(path, BY)
    write(path, as_page(record, path).encode("utf-8", "backslashreplace"), BY)
    emit_lines([str(path)])
