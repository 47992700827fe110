"""`rl2 export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rl2cli.cli.found_run import find
from rl2cli.cli.output import emit_json, emit_lines, note
from rl2cli.cli.parameters import AllowImport, AsJson, Checkpoint, Quiet, Run, one_checkpoint, require_checkpoint_name
from rl2cli.cli.startup import imported
from rl2cli.errors import UsageError, suggestion
from rl2cli.trust import allow_import as grant

FORMATS = ("onnx", "torch")


def export(
    run: Run = None,
    format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="Write onnx, or torch for a .pt2 file of torch.export.")
    ] = "onnx",
    checkpoint: Checkpoint = "best",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File to write, NAME.onnx or NAME.pt2 here where left out."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    allow_import: AllowImport = None,
) -> None:
    """Write a trained policy to a file that runs without rl2.

    Observations as the environment gives them go in, actions as it takes them come out. The file is compared with the
    policy before it is kept; FILE.json beside it describes both ends.
    """
    if format not in FORMATS:
        hint = suggestion(format, FORMATS) or f"there are: {', '.join(FORMATS)}"
        raise UsageError(f"unknown format {format!r}", hint=hint)
    require_checkpoint_name(checkpoint)
    grant(allow_import or [])
    found = find(run, quiet=quiet)
    checkpoint = one_checkpoint(found.checkpoint, checkpoint)
    from rl2cli.inference.export import export as export_policy

    imported()
    result = export_policy(str(found.path), format=format, checkpoint=checkpoint, out=out)
    for text in result["notes"]:
        note(f"warning: {text}")
    if not quiet:
        note(_verified(result))
    emit_json(result) if as_json else emit_lines([result["path"]])


def _verified(result: dict[str, Any]) -> str:
    agreement = result["verification"]
    floats = any(port["dtype"].startswith("float") for port in result["outputs"])
    measured = f"actions differ by at most {agreement['max_difference']:.1e}" if floats else "the same actions"
    ties = agreement["differing_choices"]
    measured += f", but for {ties} that rounding decides" if ties else ""
    checked = f"verified on {agreement['observations']} observations"
    return f"checkpoint of {result['checkpoint']:,} frames, {checked}: {measured}"
