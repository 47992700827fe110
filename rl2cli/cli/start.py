"""What `rl2 train` does, without the parsing of its options, so that a wrong spec is reported before Typer is there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl2cli.cli.output import emit_json, emit_lines, note, without_colour
from rl2cli.cli.startup import imported

if TYPE_CHECKING:
    from rl2cli.spec import LoadedSpec
    from rl2cli.training.learners.place import Place


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
) -> int:
    """Train the spec of that name, or print its plan; `command` is the command line, for the record.

    Of several learners, all but the first only learn what that one says.
    """
    place = find_place(os.environ)
    if place is not None and place.rank:
        return 0 if dry_run else follow(place)
    loaded = load(spec, overrides, seed=seed, total_frames=frames, device=device, quiet=quiet)
    if dry_run:
        from rl2cli.cli.plan import print_plan

        print_plan(loaded, place, as_json=as_json)
        return 0
    from rl2cli.reporting.view import make_view
    from rl2cli.training import session

    imported()
    view = make_view("quiet" if quiet else "json" if as_json else "auto", no_color=without_colour())
    try:
        summary = session.train(loaded, run_dir=run_dir, view=view, command=command, place=place)
    finally:
        view.close()
    emit_json(summary.to_json()) if as_json else emit_lines([summary.run_dir])
    return 0


def find_place(environ: Mapping[str, str]) -> Place | None:
    """Return the place of this process among those that torchrun started; None where it did not.

    Raises:
        UsageError: See `place.find_place`.
    """
    if "WORLD_SIZE" not in environ:
        return None
    from rl2cli.training.learners import place

    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch.distributed warns of every wait that is cut short
    return place.find_place(environ)


def follow(place: Place) -> int:
    """Learn what the first of several learners says, and return the exit code."""
    from rl2cli.training.learners import follower

    imported()
    return follower.follow(place)
