"""`rl2 train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rl2cli.cli.output import emit, emit_json, note, without_colour
from rl2cli.cli.parameters import AllowImport, AsJson, Device, Overrides, Quiet, Seed, whole_number
from rl2cli.cli.startup import imported
from rl2cli.errors import UsageError
from rl2cli.trust import allow_import as grant


def train(
    context: typer.Context,
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A TOML file; shipped ones are found by name.")],
    overrides: Overrides = None,
    seed: Seed = None,
    device: Device = None,
    frames: Annotated[
        int | None,
        typer.Option("--frames", parser=whole_number, metavar="N", help="Total frames in place of the spec's."),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option("--run-dir", metavar="DIR", help="New folder of the run in place of outputs/NAME/TIME-sSEED."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build everything, print shapes, memory and plan, and train nothing.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    allow_import: AllowImport = None,
    seeds: Annotated[int | None, typer.Option("--seeds", parser=whole_number, hidden=True)] = None,
) -> None:
    """Train what a run spec says.

    The folder of the run is printed on stdout when it has ended. Ctrl-C saves and stops; `rl2 resume` goes on.
    """
    if seeds is not None:
        raise UsageError("--seeds is not there yet", hint="start one run for each seed, with --seed")
    grant(allow_import or [])
    from rl2cli.spec import load_spec

    loaded = load_spec(spec, overrides or [], seed=seed, total_frames=frames, device=device)
    if loaded.shipped and not quiet:
        note(f"there is no file {spec} here; using the spec of that name that comes with rl2")
    if dry_run:
        from rl2cli.cli.plan import print_plan

        return print_plan(loaded, as_json=as_json)
    from rl2cli.reporting.view import make_view
    from rl2cli.training import session

    imported()
    view = make_view("quiet" if quiet else "json" if as_json else "auto", no_color=without_colour())
    try:
        summary = session.train(loaded, run_dir=run_dir, view=view, command=context.obj)
    finally:
        view.close()
    emit_json(summary.to_json()) if as_json else emit(summary.run_dir)
