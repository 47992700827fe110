"""Parameters that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from rl2cli.errors import UsageError


def whole_number(text: str) -> int:
    """Return the integer that `text` is, underscores between digits allowed as in TOML.

    Raises:
        typer.BadParameter: It is none.
    """
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"expected a whole number, got {text!r}") from None


def require_checkpoint_name(which: str) -> None:
    """Check what was given as `--checkpoint`.

    Raises:
        UsageError: No checkpoint can be called that.
    """
    if which not in ("best", "last") and not (which.isascii() and which.isdecimal()):
        raise UsageError(
            f"--checkpoint takes best, last or a frame number, got {which!r}",
            hint="`rl2 show RUN` lists its checkpoints",
        )


def one_checkpoint(named: int | None, which: str) -> str:
    """Return the checkpoint that is meant by a folder that was `named`, if any, and the option `which`.

    Raises:
        UsageError: Both name one.
    """
    if named is None:
        return which
    if which != "best":
        raise UsageError("a checkpoint's folder and --checkpoint both name a checkpoint", hint="give one of them")
    return str(named)


AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")]
AllowImport: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-import",
        metavar="MODULE",
        help="Let this run import a module or package that a spec names; may be given again.",
    ),
]
Overrides: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set one key of the spec to a TOML value, as algorithm.gamma=0.98; may be given again.",
    ),
]
Run: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]", help="A run's folder, its name under outputs, or latest, which is also meant where left out."
    ),
]
Seed: TypeAlias = Annotated[
    int | None, typer.Option("--seed", parser=whole_number, metavar="N", help="Seed in place of the spec's.")
]
Device: TypeAlias = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps, in place of the spec's."),
]
Checkpoint: TypeAlias = Annotated[
    str, typer.Option("--checkpoint", metavar="WHICH", help="best, last, or the frame number of a checkpoint.")
]
