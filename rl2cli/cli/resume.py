"""`rl2 resume`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rl2cli.cli.found_run import find
from rl2cli.cli.output import emit_json, emit_lines, note, without_colour
from rl2cli.cli.parameters import AllowImport, AsJson, Quiet, Run, whole_number
from rl2cli.cli.start import find_place, follow
from rl2cli.cli.startup import imported
from rl2cli.errors import UsageError
from rl2cli.training.run_folder import find_run, group_of
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
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="scale.KEY=VALUE",
            help="Change who steps the environments of a run in shards, as scale.workers=8; may be given again.",
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    allow_import: AllowImport = None,
) -> int:
    """Go on with a run from its newest valid checkpoint.

    Everything but the total and its workers is as the run began. Its folder is printed on stdout when it has ended.
    """
    grant(allow_import or [])
    place = find_place(os.environ)
    if place is not None and place.rank:
        return follow(place)
    try:
        group = _group(run)
    except UsageError as error:
        if place is not None and not place.is_one_machine:
            error.hint = "of several machines, the one with the run's folder is started with --node-rank 0"
        raise
    if group is not None:
        from rl2cli.cli.seeds import How, resume_seeds

        if place is not None:
            raise UsageError("each run of a group learns in one process", hint=f"name one of the runs in {group}")
        if overrides:
            raise UsageError("--set is of one run, and this is a group", hint=f"name one of the runs in {group}")
        if not quiet:
            note(f"using the group of seeds {group}")
        return resume_seeds(group, frames, How(as_json, quiet, tuple(allow_import or ())))
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
        summary = session.resume(
            str(found.path),
            total_frames=frames,
            overrides=overrides or (),
            view=view,
            command=context.obj,
            place=place,
        )
    finally:
        view.close()
    emit_json(summary.to_json()) if as_json else emit_lines([summary.run_dir])
    return 0


def _group(run: str | None) -> Path | None:
    """Return the group of seeds that `run` means, unless it names one seed's run."""
    found = find_run(run)
    if run is not None and Path(run).absolute() == found.path.absolute():
        return None
    return group_of(found.path)
