"""`rl2 train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rl2cli.cli.parameters import AllowImport, AsJson, Device, Overrides, Quiet, Seed, whole_number
from rl2cli.cli.start import find_place, load, require_folder, start
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
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run that --run-dir holds, begin it where it holds none, and do nothing where it has "
            "ended: for what starts the same command again.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build everything, print shapes, memory and plan, and train nothing.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    allow_import: AllowImport = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            parser=whole_number,
            metavar="N",
            help="Train N runs with as many seeds, counted from the spec's, as many at once as the cores allow.",
        ),
    ] = None,
) -> int:
    """Train what a run spec says.

    The folder of the run is printed on stdout when it has ended. Ctrl-C saves and stops; `rl2 resume` goes on.
    """
    grant(allow_import or [])
    if seeds is not None and not dry_run:
        from rl2cli.cli.seeds import How, train_seeds

        require_folder(run_dir, resume=resume)
        if find_place(os.environ) is not None:
            raise UsageError("--seeds trains each run in one process", hint="leave out --seeds, or torchrun")
        loaded = load(spec, overrides or [], seed=seed, total_frames=frames, device=device, quiet=quiet)
        how = How(as_json=as_json, quiet=quiet, allow_import=tuple(allow_import or ()))
        return train_seeds(loaded, seeds, run_dir, how, again=resume)
    return start(
        spec,
        command=context.obj,
        overrides=overrides or [],
        seed=seed,
        device=device,
        frames=frames,
        run_dir=run_dir,
        resume=resume,
        dry_run=dry_run,
        as_json=as_json,
        quiet=quiet,
    )
