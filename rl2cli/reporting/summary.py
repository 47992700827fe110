"""The first and the last lines of a run: what it is, how it ended and what to type next."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from rl2cli.reporting.figures import Glyphs, count, duration, mean_and_interval, rate, significant
from rl2cli.reporting.progress import Evaluation, RunFacts, Summary


def opening_lines(facts: RunFacts, glyphs: Glyphs) -> list[str]:
    """Return the lines above the progress of a run: folder, parts and every automatic choice."""
    environments = f"{facts.environment} {glyphs.times} {count(facts.num_envs)}"
    threads = "1 thread" if facts.threads == 1 else f"{facts.threads} threads"
    lines = [
        f"run         {shown_path(facts.run_dir)}",
        f"training    {facts.algorithm}, {facts.network}, {environments}",
        f"machine     {facts.device}, {threads}, seed {facts.seed}",
    ]
    if facts.resumed_from is not None:
        lines.append(f"resumed     from {count(facts.resumed_from)} frames")
    lines += [f"{'choices' if index == 0 else '':<12}{choice}" for index, choice in enumerate(facts.choices)]
    return [glyphs.clean(line) for line in lines]


def closing_lines(summary: Summary, glyphs: Glyphs) -> list[str]:
    """Return what happened, where it is and what to type next."""
    lines = [_outcome(summary)]
    if summary.evaluation is not None:
        lines.append(f"evaluation  {evaluation_text(summary.evaluation, glyphs)}")
    if summary.best is not None:
        lines.append(f"best        {_best(summary, summary.best, glyphs)}")
    if summary.unsaved is not None:
        lines.append(f"not saved   {summary.unsaved}")
    if summary.inexact:
        lines.append(f"not exact   {summary.inexact[-1]}")
    lines.append(f"run         {shown_path(summary.run_dir)}")
    lines += [f"  {command}" for command in _commands(summary)]
    return [glyphs.clean(line) for line in lines]


def evaluation_text(evaluation: Evaluation, glyphs: Glyphs) -> str:
    """Return one evaluation: `475.0 ± 3.1 (20 episodes), stochastic 450.2`."""
    text = f"{mean_and_interval(evaluation, glyphs)} ({_episodes(evaluation.episodes)})"
    if evaluation.stochastic_mean is None:
        return text
    text += f", stochastic {significant(evaluation.stochastic_mean)}"
    same = evaluation.stochastic_episodes == evaluation.episodes
    return text if same else f"{text} ({count(evaluation.stochastic_episodes)})"


def shown_path(path: str) -> str:
    """Return `path` relative to the working directory where that is shorter."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # the directory is gone, or another drive
        return path
    return relative if len(relative) < len(path) else path


def _outcome(summary: Summary) -> str:
    of_total = f" of {count(summary.total_frames)}" if summary.status != "finished" and summary.total_frames else ""
    status = {"stopped": "stopped at", "failed": "failed at"}.get(summary.status, f"{summary.status}:")
    speed = f"{duration(summary.wall_seconds)}, {rate(summary.frames_per_second)} frames/s"
    return f"{status} {count(summary.frames)}{of_total} frames, {speed}"


def _best(summary: Summary, best: Evaluation, glyphs: Glyphs) -> str:
    text = f"{mean_and_interval(best, glyphs)} ({_episodes(best.episodes)}) at {count(best.frames)} frames"
    if summary.best_checkpoint is None:
        return text
    checkpoint = Path(summary.best_checkpoint)
    run = Path(summary.run_dir)
    inside = checkpoint.relative_to(run) if checkpoint.is_relative_to(run) else checkpoint
    return f"{text}, {inside}"


def _commands(summary: Summary) -> list[str]:
    run = shown_path(summary.run_dir)
    if summary.frames == 0:
        return []
    infer = f"rl2 infer {_quoted(run)}"
    resume = f"rl2 resume {_quoted(run)}"
    commands = [resume, infer] if _goes_on(summary) else [infer, _resume_further(summary, resume)]
    if summary.tensorboard:
        commands.append(f"tensorboard --logdir {_quoted(os.path.join(run, 'tensorboard'))}")
    return commands


def _goes_on(summary: Summary) -> bool:
    """Return whether the run is to be resumed before anything else."""
    return summary.status in ("stopped", "failed") or summary.unsaved is not None


def _resume_further(summary: Summary, resume: str) -> str:
    done = max(summary.frames, summary.total_frames or 0)
    return f"{resume} --frames {2 * done}"


def _quoted(path: str) -> str:
    return subprocess.list2cmdline([path]) if os.name == "nt" else shlex.quote(path)


def _episodes(number: int) -> str:
    return "1 episode" if number == 1 else f"{count(number)} episodes"
