"""`rl2 train --seeds`, and `rl2 resume` for what it left: one process for each seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, NamedTuple

from rl2cli.cli.failure import explain
from rl2cli.cli.output import emit_json, emit_lines
from rl2cli.cli.startup import SIGNALS_AT_ONCE
from rl2cli.durable import write_text_atomic
from rl2cli.errors import RL2Error, Stopped, UsageError
from rl2cli.reporting.figures import significant
from rl2cli.reporting.seeds_view import SeedsView
from rl2cli.reporting.summary import shown_path
from rl2cli.spec import LoadedSpec, dump_spec, load_spec
from rl2cli.spec.model import RunSpec
from rl2cli.training.repeated import continued
from rl2cli.training.run_folder import GROUP_FILE, is_run, read_json
from rl2cli.training.seed_group import MOST_SEEDS, SeedGroup, SeedProcesses, SeedRun
from rl2cli.training.signals import StopRequest

ENDED = ("finished", "target reached")


class How(NamedTuple):
    """Options of the command line that do not change what is trained."""

    as_json: bool
    quiet: bool
    allow_import: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the options for the process of one seed."""
        return [
            "--json",
            *(["--quiet"] if self.quiet else []),
            *(f"--allow-import={name}" for name in self.allow_import),
        ]


def train_seeds(loaded: LoadedSpec, count: int, run_dir: Path | None, how: How, *, again: bool = False) -> int:
    """Train `count` runs that differ in their seed alone, print the folder that holds them, return the exit code.

    With `again`, `run_dir` may hold them already; each then goes on, or begins.

    Raises:
        UsageError: There cannot be so many, or the folder is taken.
        Stopped: A signal came; every run has saved.
    """
    if not 1 <= count <= MOST_SEEDS:
        raise UsageError(
            f"--seeds takes a number from 1 to {MOST_SEEDS}, got {count}", hint="it is how many runs; --seed N is which"
        )
    spec = loaded.spec
    if spec.seed + count > 2**63:
        raise UsageError(f"there are no {count} seeds from {spec.seed} on", hint="begin with a smaller seed")
    seeds = range(spec.seed, spec.seed + count)
    if again and run_dir is not None and (run_dir / GROUP_FILE).is_file():
        group = _same_group(spec, seeds, run_dir)
    else:
        group = SeedGroup.create(Path("outputs"), spec.name, seeds, loaded.text, dump_spec(spec), run_dir, again=again)
    resume = ["--resume"] if again else []
    return _run(group, list(seeds), lambda seed, plan: [*_train(group, seed, plan), *resume], how)


def _same_group(asked: RunSpec, seeds: Sequence[int], folder: Path) -> SeedGroup:
    """Return the group in `folder`.

    Raises:
        UsageError: It is another one.
    """
    group = SeedGroup.open(folder)
    if group.seeds != tuple(seeds):
        raise UsageError(
            f"this folder holds the seeds {group.seeds[0]} to {group.seeds[-1]}, {len(group.seeds)} of them",
            hint="give --seed and --seeds as they were, or name another folder with --run-dir",
            place=str(folder),
        )
    write_text_atomic(group.spec, dump_spec(continued(asked, load_spec(group.spec).spec, folder)))
    return group


def resume_seeds(folder: Path, frames: int | None, how: How) -> int:
    """Go on with every run of a group that has not ended, begin those that were not started; return the exit code.

    Raises:
        UsageError: `folder` holds no group, or all of its runs have ended.
        Stopped: A signal came; every run has saved.
    """
    group = SeedGroup.open(folder)
    left = [seed for seed in group.seeds if frames is not None or not _has_ended(group.run_dir(seed))]
    if not left:
        raise UsageError(
            "all seeds of this group have ended", hint="--frames TOTAL trains them further", place=str(folder)
        )
    total = [] if frames is None else [f"--frames={frames}"]

    def command(seed: int, plan: list[str]) -> list[str]:
        run = group.run_dir(seed)
        return ["resume", str(run), *total] if is_run(run) else [*_train(group, seed, plan), *total]

    return _run(group, left, command, how)


def _train(group: SeedGroup, seed: int, plan: list[str]) -> list[str]:
    return ["train", str(group.spec), f"--seed={seed}", f"--run-dir={group.run_dir(seed)}", *plan]


def _has_ended(run: Path) -> bool:
    return read_json(run / "summary.json").get("status") in ENDED


def _run(group: SeedGroup, seeds: list[int], command: Callable[[int, list[str]], list[str]], how: How) -> int:
    began = time.perf_counter()
    view = SeedsView(seeds, quiet=how.quiet, plain=how.as_json)
    processes = SeedProcesses(
        group,
        seeds,
        lambda seed, plan: [*command(seed, plan), *how.arguments()],
        view.said,
        lambda run: view.ended(run.seed, run.result(), run.exit_code or 0),
    )
    SIGNALS_AT_ONCE.end()  # the processes of the seeds are to be ended first
    try:
        view.note(f"runs        {shown_path(str(group.path))}")
        with StopRequest() as stop:
            processes.run(stop)
    finally:
        view.close()
    summary = _summary(group, processes.runs, time.perf_counter() - began)
    view.note(*_closing(group, summary))
    if stop.signal_number is not None:
        raise Stopped(
            "stopped, and every seed's run is saved",
            signal_number=stop.signal_number,
            summary=summary,
            hint=f"go on with: rl2 resume {shown_path(str(group.path))}",
        )
    emit_json(summary) if how.as_json else emit_lines([str(group.path)])
    failed = [run for run in processes.runs if run.exit_code]
    if failed:
        explain(_failure(group, failed))
    return next((run.exit_code for run in failed if run.exit_code), 0)


def _failure(group: SeedGroup, failed: list[SeedRun]) -> RL2Error:
    seeds = ", ".join(str(run.seed) for run in failed)
    return RL2Error(
        f"the run of seed {seeds} failed" if len(failed) == 1 else f"the runs of seeds {seeds} failed",
        hint=f"what was wrong is said above; to try again: rl2 resume {shown_path(str(group.path))}",
    )


def _summary(group: SeedGroup, runs: list[SeedRun], seconds: float) -> dict[str, Any]:
    """Return the object that `--json` prints: of the group, and of each run what it printed itself."""
    results = [{"seed": run.seed, **_of_run(run)} for run in runs]
    frames = sum(result["frames"] for result in results if isinstance(result.get("frames"), int))
    return {
        "run_dir": str(group.path),
        "status": _status(results),
        "seeds": [run.seed for run in runs],
        "frames": frames,
        "wall_seconds": seconds,
        "frames_per_second": frames / seconds,
        "evaluation": _over_seeds(results, "evaluation"),
        "best": _over_seeds(results, "best"),
        "runs": results,
    }


def _of_run(run: SeedRun) -> dict[str, Any]:
    if run.process is None:
        return {"run_dir": str(run.run_dir), "status": "not started", "frames": 0}
    return {"run_dir": str(run.run_dir), "status": "failed", **run.result(), "exit_code": run.exit_code}


def _status(results: list[dict[str, Any]]) -> str:
    found = {result.get("status") for result in results}
    for status in ("failed", "stopped", "not started"):
        if status in found:
            return "stopped" if status == "not started" else status
    return "target reached" if found == {"target reached"} else "finished"


def _over_seeds(results: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """Return mean and standard deviation over seeds of the mean returns under `name`; None where there is none."""
    evaluations = [found for result in results if isinstance(found := result.get(name), dict)]
    means = [found["mean_return"] for found in evaluations if isinstance(found.get("mean_return"), float)]
    if not means:
        return None
    return {
        "mean_return": fmean(means),
        "std_return": pstdev(means),
        "seeds": len(means),
        "episodes": sum(int(found.get("episodes", 0)) for found in evaluations),
        "frames": max(int(found.get("frames", 0)) for found in evaluations),
    }


def _closing(group: SeedGroup, summary: dict[str, Any]) -> list[str]:
    lines = []
    for name in ("evaluation", "best"):
        found = summary[name]
        if found is not None:
            spread = f"mean {significant(found['mean_return'])}, deviation {significant(found['std_return'])}"
            lines.append(f"{name:<12}{spread} over {found['seeds']} seeds")
    return [*lines, f"runs        {shown_path(str(group.path))}"]
