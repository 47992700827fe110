"""What `rl2 train` does, without the parsing of its options, so that a wrong spec is reported before Typer is there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl2cli.cli.output import emit_json, emit_lines, note, without_colour
from rl2cli.cli.startup import imported
from rl2cli.errors import UsageError

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
    resume: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
    quiet: bool = False,
) -> int:
    """Train the spec of that name, or print its plan; `command` is the command line, for the record.

    Of several learners, all but the first only learn what that one says. With `resume`, `run_dir` may hold the run
    already.
    """
    require_folder(run_dir, resume=resume)
    place = find_place(os.environ)
    if place is not None and place.rank:
        return 0 if dry_run else follow(place)
    loaded = load(spec, overrides, seed=seed, total_frames=frames, device=device, quiet=quiet)
    if dry_run:
        from rl2cli.cli.plan import print_plan

        print_plan(loaded, place, as_json=as_json)
        return 0
    if resume and run_dir is not None and _has_ended(loaded, run_dir, place, as_json=as_json, quiet=quiet):
        return 0
    from rl2cli.reporting.view import make_view
    from rl2cli.training import session

    imported()
    view = make_view("quiet" if quiet else "json" if as_json else "auto", no_color=without_colour())
    try:
        summary = session.train(loaded, run_dir=run_dir, view=view, command=command, place=place, again=resume)
    finally:
        view.close()
    emit_json(summary.to_json()) if as_json else emit_lines([summary.run_dir])
    return 0


def require_folder(run_dir: Path | None, *, resume: bool) -> None:
    """Check that what is to be gone on with has a name that does not change.

    Raises:
        UsageError: It has none.
    """
    if resume and run_dir is None:
        raise UsageError(
            "--resume needs --run-dir: without it every start has a folder of its own",
            hint="--run-dir DIR names one; `rl2 resume` goes on with the last run",
        )


def _has_ended(loaded: LoadedSpec, run_dir: Path, place: Place | None, *, as_json: bool, quiet: bool) -> bool:
    """Return whether the run has nothing left to do; if so, say it, print what it printed, and end other learners."""
    from rl2cli.training.repeated import ended

    summary = ended(loaded.spec, run_dir)
    if summary is None:
        return False
    if place is not None and place.learners > 1:
        from rl2cli.training.learners.leader import dismiss

        dismiss(place)
    if not quiet:
        note(f"the run in {run_dir} has ended already, after {summary.get('frames')} frames")
    emit_json(summary) if as_json else emit_lines([str(run_dir)])
    return True


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
