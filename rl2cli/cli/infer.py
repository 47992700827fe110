"""`rl2 infer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rl2cli.cli.found_run import find
from rl2cli.cli.output import as_json_text, emit, emit_json, note
from rl2cli.cli.parameters import (
    AllowImport,
    AsJson,
    Checkpoint,
    Device,
    Quiet,
    Seed,
    one_checkpoint,
    require_checkpoint_name,
    whole_number,
)
from rl2cli.cli.startup import imported
from rl2cli.durable import require_new_file, write_text_atomic
from rl2cli.errors import UsageError, suggestion
from rl2cli.trust import allow_import as grant

MODES = ("benchmark", "watch", "record")


def infer(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="A run's or a checkpoint's folder, a name under outputs, or latest, which is the default.",
        ),
    ] = None,
    episodes: Annotated[
        int,
        typer.Option("--episodes", parser=whole_number, metavar="N", help="Whole episodes to run; all of them count."),
    ] = 20,
    stochastic: Annotated[
        bool, typer.Option("--stochastic", help="Sample actions as in training instead of taking the likeliest.")
    ] = False,
    checkpoint: Checkpoint = "best",
    seed: Seed = None,
    mode: Annotated[
        str, typer.Option("--mode", metavar="MODE", help="benchmark measures the return; nothing else is there yet.")
    ] = "benchmark",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="env.KEY=VALUE", help="Change the environment, as a spec's; may be given again."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write what --json prints to a new file.")
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
    quiet: Quiet = False,
    allow_import: AllowImport = None,
    record_video: Annotated[bool, typer.Option("--record-video", hidden=True)] = False,
) -> None:
    """Run a trained policy and measure its return.

    The spec, and everything the policy needs, come from the run's folder.
    """
    _refuse(mode, record_video, checkpoint, episodes, out)
    grant(allow_import or [])
    found = find(run, quiet=quiet)
    checkpoint = one_checkpoint(found.checkpoint, checkpoint)
    from rl2cli.inference.benchmark import benchmark

    imported()
    result = benchmark(
        str(found.path),
        checkpoint=checkpoint,
        episodes=episodes,
        stochastic=stochastic,
        seed=seed,
        device=device or "auto",
        overrides=overrides or [],
    )
    for text in result["notes"]:
        note(f"warning: {text}")
    if out is not None:
        write_text_atomic(out, as_json_text(result) + "\n")
    emit_json(result) if as_json else emit(_as_text(result))


def _refuse(mode: str, record_video: bool, checkpoint: str, episodes: int, out: Path | None) -> None:
    """Refuse what is wrong with the options, before anything is loaded.

    Raises:
        UsageError: it is not there yet, or was never meant to be.
    """
    require_checkpoint_name(checkpoint)
    if out is not None:
        require_new_file(out)
    if mode not in MODES:
        raise UsageError(f"unknown mode {mode!r}", hint=suggestion(mode, MODES) or f"there are: {', '.join(MODES)}")
    if record_video or mode != "benchmark":
        what = "--record-video" if record_video else f"--mode {mode}"
        raise UsageError(f"{what} is not there yet", hint="without it, rl2 infer measures the policy's return")
    if episodes < 1:
        raise UsageError(f"--episodes takes a number of at least 1, got {episodes}")


def _as_text(result: dict[str, Any]) -> str:
    from rl2cli.reporting.figures import count, rate, significant

    number = significant
    return "\n".join(
        (
            f"return      {number(result['mean_return'])} +/- {number(result['interval'])} "
            f"({count(result['episodes'])} episodes)",
            f"middle      {number(result['iqm_return'])}, the mean without the lowest and the highest quarter",
            f"range       {number(result['min_return'])} to {number(result['max_return'])}, "
            f"standard deviation {number(result['std_return'])}",
            f"length      {number(result['mean_length'])} steps, {count(result['min_length'])} to "
            f"{count(result['max_length'])}",
            f"checkpoint  {count(result['frames'])} frames, {result['checkpoint']}",
            f"speed       {rate(result['frames_per_second'])} frames/s",
        )
    )
