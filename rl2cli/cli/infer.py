"""`rl2 infer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rl2cli.cli.found_run import find
from rl2cli.cli.infer_options import How, checked
from rl2cli.cli.output import as_json_text, emit_json, emit_lines, note
from rl2cli.cli.parameters import AllowImport, AsJson, Checkpoint, Device, Quiet, Seed, one_checkpoint, whole_number
from rl2cli.cli.startup import imported
from rl2cli.durable import write_text_atomic
from rl2cli.trust import allow_import as grant

MOST_SHOWN = 100
"""Episodes that are printed one by one."""


def infer(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="A run's or a checkpoint's folder, a name under outputs, or latest, which is the default.",
        ),
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            "--episodes",
            parser=whole_number,
            metavar="N",
            help="Whole episodes to run; all of them count; by default 20 to measure, 3 to watch, 1 video to record.",
        ),
    ] = None,
    stochastic: Annotated[
        bool, typer.Option("--stochastic", help="Sample actions as in training instead of taking the likeliest.")
    ] = False,
    checkpoint: Checkpoint = "best",
    seed: Seed = None,
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            metavar="MODE",
            help="What to do: benchmark measures the return, watch shows the policy in a window or a terminal, record "
            "makes videos.",
        ),
    ] = "benchmark",
    record_video: Annotated[bool, typer.Option("--record-video", help="The same as --mode record.")] = False,
    video_format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="Of videos: mp4, the default, or gif.")
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option("--grid", metavar="RxC", help="Show R times C episodes side by side in one video, as 2x2."),
    ] = None,
    no_overlay: Annotated[
        bool, typer.Option("--no-overlay", help="Without the line of step, reward and return under each picture.")
    ] = False,
    fps: Annotated[
        float | None,
        typer.Option("--fps", metavar="N", help="Steps shown in a second; by default as many as are real time."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="PATH",
            help="New file for what --json prints; folder or file of videos, by default videos in the run's folder.",
        ),
    ] = None,
    view: Annotated[
        str,
        typer.Option("--view", metavar="VIEW", help="Where to watch: window, terminal, or auto, which takes what is."),
    ] = "auto",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="env.KEY=VALUE", help="Change the environment, as a spec's; may be given again."),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
    quiet: Quiet = False,
    allow_import: AllowImport = None,
) -> int:
    """Run a trained policy: measure its return, watch it, or record videos.

    The spec, and everything the policy needs, come from the run's folder.
    """
    how = How(mode, record_video, checkpoint, episodes, video_format, grid, not no_overlay, fps, out, view)
    mode, recording, watching = checked(how)
    grant(allow_import or [])
    found = find(run, quiet=quiet)
    chosen: dict[str, Any] = {
        "checkpoint": one_checkpoint(found.checkpoint, checkpoint),
        "stochastic": stochastic,
        "seed": seed,
        "device": device or "auto",
        "overrides": overrides or [],
    }
    if mode == "record":
        from rl2cli.inference.record import record

        imported()
        result = record(str(found.path), recording, episodes=episodes, **chosen)
    elif mode == "watch":
        from rl2cli.inference.watch import watch

        imported()
        result = watch(str(found.path), view=watching, episodes=episodes or 3, fps=fps, **chosen)
    else:
        from rl2cli.inference.benchmark import benchmark

        imported()
        result = benchmark(str(found.path), episodes=episodes or 20, **chosen)
    return _report(result, mode, None if mode == "record" else out, as_json=as_json)


def _report(result: dict[str, Any], mode: str, out: Path | None, *, as_json: bool) -> int:
    """Print what came of it, write it to `out`, and return the exit code."""
    for text in result["notes"]:
        note(f"warning: {text}")
    if out is not None:
        write_text_atomic(out, as_json_text(result) + "\n")
    emit_json(result) if as_json else emit_lines(_as_lines(result, mode))
    signal_number = result.get("stopped_by")
    return 0 if signal_number is None else 128 + int(signal_number)


def _as_lines(result: dict[str, Any], mode: str) -> list[str]:
    from rl2cli.reporting.figures import count, rate, significant

    if not result["episodes"]:
        return ["no episode ended"]
    number = significant
    lines = [f"video       {path}" for path in result["videos"]]
    if mode != "benchmark":
        pairs = zip(result["returns"][:MOST_SHOWN], result["lengths"], strict=False)
        lines += [
            f"episode {index:<4}return {number(total)}, {count(steps)} steps"
            for index, (total, steps) in enumerate(pairs, 1)
        ]
    if mode == "benchmark" or result["episodes"] > 1:
        lines += [
            f"return      {number(result['mean_return'])} +/- {number(result['interval'])} "
            f"({count(result['episodes'])} episodes)",
            f"middle      {number(result['iqm_return'])}, the mean without the lowest and the highest quarter",
            f"range       {number(result['min_return'])} to {number(result['max_return'])}, "
            f"standard deviation {number(result['std_return'])}",
            f"length      {number(result['mean_length'])} steps, {count(result['min_length'])} to "
            f"{count(result['max_length'])}",
        ]
    lines.append(f"checkpoint  {count(result['frames'])} frames, {result['checkpoint']}")
    if mode == "benchmark":
        lines.append(f"speed       {rate(result['frames_per_second'])} frames/s")
    return lines
