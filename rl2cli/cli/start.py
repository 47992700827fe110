"""What `rl2 train` does, without the parsing of its options, so that a wrong spec is reported before Typer is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl2cli.cli.output import emit_json, emit_lines, note, without_colour
from rl2cli.cli.startup import imported

if TYPE_CHECKING:
    from rl2cli.spec import LoadedSpec


def load(spec: str, overrides: Sequence[str], *, quiet: bool, **short: Any) -> LoadedSpec:
    """Return the spec of that name; `short` are `seed`, `total_frames` and `device` of the command line."""
    from rl2cli.spec import load_spec

    loaded = load_spec(spec, overrides, **short)
    if loaded.shipped and not quiet:
        note(f"there is no file {spec} here; using the spec of that name that comes with rl2")
    for layer in () if quiet else loaded.bases:
        if layer.shipped:
            note(f"it extends {layer.label}, which comes with rl2")
    return loaded


def start(
    spec: str,
    *,
    command: Sequence[str],
    overrides: Sequence[str] = (),
    seed: int | None = None,
    device: str | None = None,
    frames: int | None = None,
    run_dir: Path | None = None,
    dry_run: bool = False,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Train the spec of that name, or print its plan; `command` is the command line, for the record."""
    loaded = load(spec, overrides, seed=seed, total_frames=frames, device=device, quiet=quiet)
    if dry_run:
        from rl2cli.cli.plan import print_plan

        return print_plan(loaded, as_json=as_json)
    from rl2cli.reporting.view import make_view
    from rl2cli.training import session

    imported()
    view = make_view("quiet" if quiet else "json" if as_json else "auto", no_color=without_colour())
    try:
        summary = session.train(loaded, run_dir=run_dir, view=view, command=command)
    finally:
        view.close()
    emit_json(summary.to_json()) if as_json else emit_lines([summary.run_dir])
