"""What `rl2 show` says about a run, from the files in its folder alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl2cli.cli.found_run import find
from rl2cli.cli.output import emit, emit_json
from rl2cli.reporting.figures import count, duration, rate, significant
from rl2cli.training.run_folder import HOLDER_FILE, RunFolder, read_json, started_at

LAST_EVALUATIONS = 20


def show_run(where: str, *, as_json: bool) -> None:
    """Print what the run that `where` means was, how it went and what can be done with it."""
    folder = RunFolder.open(find(where).path)
    facts, summary = read_json(folder.run_json), read_json(folder.summary)
    evaluations = list(_evaluations(folder.metrics))
    checkpoints = _checkpoints(folder.checkpoints)
    if as_json:
        found = {"run_dir": str(folder.path), "status": _status(folder, summary), "checkpoints": checkpoints}
        emit_json({**found, "run": facts, "summary": summary, "evaluations": evaluations})
        return
    lines = [f"run          {folder.path}", f"status       {_status(folder, summary)}"]
    lines += [*_progress(summary), *_origin(folder, facts), *_best(summary)]
    if checkpoints:
        lines.append(f"checkpoints  {', '.join(map(count, checkpoints))}")
    emit("\n".join([*lines, *_table(evaluations)]))


def _status(folder: RunFolder, summary: dict[str, Any]) -> str:
    holder = read_json(folder.path / HOLDER_FILE).get("pid")
    if isinstance(holder, int):
        return f"running in process {holder}, or killed there"
    return str(summary.get("status", "ended without a summary"))


def _progress(summary: dict[str, Any]) -> list[str]:
    frames, total, seconds = summary.get("frames"), summary.get("total_frames"), summary.get("wall_seconds")
    if not isinstance(frames, int):
        return []
    text = count(frames) + (f" of {count(total)}" if isinstance(total, int) and total > frames else "")
    speed = summary.get("frames_per_second")
    if isinstance(seconds, float) and isinstance(speed, float):
        text += f" in {duration(seconds)}, {rate(speed)} frames/s"
    return [f"frames       {text}"]


def _origin(folder: RunFolder, facts: dict[str, Any]) -> list[str]:
    lines = [f"started      {started_at(folder.path):%Y-%m-%d %H:%M:%S} UTC"]
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


def _best(summary: dict[str, Any]) -> list[str]:
    best = summary.get("best")
    if not isinstance(best, dict) or not isinstance(best.get("mean_return"), float):
        return []
    where = f", {best['checkpoint']}" if best.get("checkpoint") else ""
    return [f"best         {significant(best['mean_return'])} at {count(int(best['frames']))} frames{where}"]


def _checkpoints(folder: Path) -> list[int]:
    try:
        return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())
    except OSError:
        return []


def _evaluations(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of metrics.jsonl that are evaluations; what cannot be read is left out."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if '"evaluation/mean_return"' in line:
                    row = _row(line)
                    if row is not None:
                        yield row
    except OSError:
        return


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("frames"), int):
        return None
    return {key.removeprefix("evaluation/"): value for key, value in row.items()}


def _table(evaluations: list[dict[str, Any]]) -> list[str]:
    if not evaluations:
        return []
    rows = [["frames", "return", "+/-", "stochastic"]]
    for row in evaluations[-LAST_EVALUATIONS:]:
        values = (row.get(key) for key in ("mean_return", "interval", "stochastic_mean"))
        texts = (significant(value) if isinstance(value, float) else str(value or "-") for value in values)
        rows.append([count(row["frames"]), *texts])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    earlier = len(evaluations) - LAST_EVALUATIONS
    heading = "evaluations" + (f" (the last {LAST_EVALUATIONS} of {count(len(evaluations))})" if earlier > 0 else "")
    return ["", heading, *("  " + "  ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) for row in rows)]
