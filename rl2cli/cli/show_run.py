"""What `rl2 show` says about a run, from the files in its folder alone."""

from __future__ import annotations

import shlex
from typing import Any

from rl2cli.cli.found_run import find
from rl2cli.cli.output import emit_json, emit_lines
from rl2cli.reporting.figures import count, duration, rate, significant
from rl2cli.results.run_record import RunRecord
from rl2cli.results.values import table, texts

LAST_EVALUATIONS = 20
LAST_REASONS = 5


def show_run(where: str, *, as_json: bool) -> None:
    """Print what the run that `where` means was, how it went and what can be done with it."""
    run = RunRecord(find(where).path)
    if as_json:
        found = {"run_dir": str(run.path), "status": run.state, "checkpoints": run.checkpoints()}
        emit_json({**found, "run": run.facts, "summary": run.summary, "evaluations": run.evaluations})
        return
    lines = [f"run          {run.path}", f"status       {_status(run)}"]
    lines += [*_progress(run), *_origin(run), *_best(run), *_exactness(run)]
    if checkpoints := run.checkpoints():
        lines.append(f"checkpoints  {', '.join(map(count, checkpoints))}")
    emit_lines([*lines, *_table(run.evaluations)])


def _status(run: RunRecord) -> str:
    process = f"process {run.folder.holder() or 'unknown'}"
    if run.state == "running":
        return f"running in {process}"
    if run.state == "killed":
        return f"killed, {process}; to go on: rl2 resume {shlex.quote(str(run.path))}"
    return "ended without a summary" if run.state == "unknown" else run.state


def _progress(run: RunRecord) -> list[str]:
    if run.frames is None:
        return []
    total, seconds, speed = run.total_frames, run.seconds, run.frames_per_second
    text = count(run.frames) + (f" of {count(total)}" if total is not None and total > run.frames else "")
    if seconds is not None and speed is not None:
        text += f" in {duration(seconds)}, {rate(speed)} frames/s"
    return [f"frames       {text}"]


def _origin(run: RunRecord) -> list[str]:
    facts = run.facts
    lines = [f"started      {run.started:%Y-%m-%d %H:%M:%S} UTC"] if run.started else []
    versions, command = facts.get("versions"), facts.get("command")
    if isinstance(command, list):
        lines.append(f"command      {shlex.join(map(str, command))}")
    choices = facts.get("choices")
    if isinstance(choices, list):
        lines += [f"{'choices' if index == 0 else '':<13}{choice}" for index, choice in enumerate(choices)]
    if isinstance(versions, dict):
        shown = [f"{name} {versions[name]}" for name in ("rl2cli", "torch", "gymnasium") if name in versions]
        lines.append(f"machine      {facts.get('cpu', 'unknown')}; {', '.join(shown)}")
    return lines


def _best(run: RunRecord) -> list[str]:
    if run.best is None:
        return []
    checkpoint = table(run.summary.get("best")).get("checkpoint")
    where = f", {checkpoint}" if isinstance(checkpoint, str) and run.state not in ("running", "killed") else ""
    return [f"best         {significant(run.best.mean_return)} at {count(run.best.frames)} frames{where}"]


def _exactness(run: RunRecord) -> list[str]:
    reasons = texts(run.summary.get("inexact"))
    if not reasons and run.facts.get("exact") is not False:
        return []
    shown = reasons[-LAST_REASONS:] or ["an environment was started anew"]
    return [f"{'not exact' if index == 0 else '':<13}{reason}" for index, reason in enumerate(shown)]


def _table(evaluations: list[dict[str, Any]]) -> list[str]:
    if not evaluations:
        return []
    rows = [["frames", "return", "+/-", "stochastic"]]
    for row in evaluations[-LAST_EVALUATIONS:]:
        values = (row.get(key) for key in ("mean_return", "interval", "stochastic_mean"))
        shown = (significant(value) if isinstance(value, float) else str(value or "-") for value in values)
        rows.append([count(row["frames"]), *shown])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    earlier = len(evaluations) - LAST_EVALUATIONS
    heading = "evaluations" + (f" (the last {LAST_EVALUATIONS} of {count(len(evaluations))})" if earlier > 0 else "")
    return ["", heading, *("  " + "  ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) for row in rows)]
