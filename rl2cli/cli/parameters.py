"""Parameters that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer


def whole_number(text: str) -> int:
    """Return the integer that `text` is, underscores between digits allowed as in TOML.

    Raises:
        typer.BadParameter: It is none.
    """
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"expected a whole number, got {text!r}") from None


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
