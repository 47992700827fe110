"""`rl2 resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from rl2cli.cli.found_run import find
from rl2cli.cli.output import emit, emit_json, without_colour
from rl2cli.cli.parameters import AllowImport, AsJson, Quiet, Run, whole_number
from rl2cli.cli.startup import imported
from rl2cli.errors import UsageError
from rl2cli.trust import allow_import as grant


def resume(
    context: typer.Context,
    run: Run = None,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames", parser=whole_number, metavar="TOTAL", help="New total of frames, those done included."
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    allow_import: AllowImport = None,
) -> None:
    """Go on with a run from its newest valid checkpoint.

    Everything but the total is as the run began; the folder of the run is printed on stdout when it has ended.
    """
    grant(allow_import or [])
    found = find(run, quiet=quiet)
    if found.checkpoint is not None:
        raise UsageError(
            "a run is resumed from its newest checkpoint, not from one that is named", hint=f"rl2 resume {found.path}"
        )
    from rl2cli.reporting.view import make_view
    from rl2cli.training import session

    imported()
    view = make_view("quiet" if quiet else "json" if as_json else "auto", no_color=without_colour())
    try:
        summary = session.resume(str(found.path), total_frames=frames, view=view, command=context.obj)
    finally:
        view.close()
    emit_json(summary.to_json()) if as_json else emit(summary.run_dir)
