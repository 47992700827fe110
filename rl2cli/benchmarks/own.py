"""rl2 itself, started as a user starts it and read from its run folder."""

from __future__ import annotations

import json
import math
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rl2cli.benchmarks.processes import Ended, MeasurementError, run_command

_ENDED_EARLY = "the run ended earlier: was the spec that comes with rl2 changed? `rl2 train` on it says more"
LIMIT = 900.0
"""Seconds that one run may take."""


class Evaluated(NamedTuple):
    """An evaluation of a run."""

    seconds: float
    """From Enter to its end."""
    frames: int
    mean_return: float
    episodes: int


@dataclass(frozen=True, slots=True)
class TrainRun:
    """A finished `rl2 train`."""

    process: Ended
    summary: dict[str, Any]
    """Its `summary.json`."""
    timings: list[dict[str, Any]]
    """Its `timings.jsonl`."""

    @property
    def frames_per_second(self) -> float:
        """Mean speed from the first frame to the end, with whatever evaluations and checkpoints the spec asks for."""
        return float(self.summary["frames_per_second"])

    @property
    def evaluations(self) -> list[Evaluated]:
        """All evaluations, in order."""
        return [
            Evaluated(row["time"] - self.process.started, row["frames"], row["mean_return"], row["episodes"])
            for row in self._events("evaluation")
        ]

    def solved(self, target: float, episodes: int) -> tuple[float, float]:
        """Return seconds from Enter, and frames, to the first evaluation that reached `target`; infinite if none did.

        Raises:
            MeasurementError: It was of fewer than `episodes` episodes.
        """
        for found in self.evaluations:
            if found.mean_return >= target:
                if found.episodes < episodes:
                    raise MeasurementError(
                        f"an evaluation had {found.episodes} episodes; {episodes} are to be compared",
                        hint=f"the spec that comes with rl2 has to say episodes = {episodes} under [evaluation]",
                    )
                return found.seconds, float(found.frames)
        return math.inf, math.inf

    def evaluated_at(self, frames: int) -> Evaluated:
        """Return the first evaluation at `frames` frames or later.

        Raises:
            MeasurementError: There is none.
        """
        for found in self.evaluations:
            if found.frames >= frames:
                return found
        raise MeasurementError(f"the run made no evaluation at {frames:,} frames", hint=_ENDED_EARLY)

    def evaluated_within(self, seconds: float) -> Evaluated:
        """Return the last evaluation that ended within `seconds` from Enter.

        Raises:
            MeasurementError: There is none.
        """
        within = [found for found in self.evaluations if found.seconds <= seconds]
        if not within:
            raise MeasurementError(
                f"the run made no evaluation within {seconds:,.0f} s",
                hint="is something else busy on this machine? Its first evaluation took longer than all of the peer",
            )
        return within[-1]

    def first_update(self) -> float:
        """Return seconds from Enter to the end of the first update.

        Raises:
            MeasurementError: There was none.
        """
        for row in self._events("first_update"):
            return float(row["time"] - self.process.started)
        raise MeasurementError("timings.jsonl has no first_update", hint=_ENDED_EARLY)

    def _events(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.timings if row.get("event") == name]


def own_command() -> list[str]:
    """Return the command that starts this installation of rl2: its script, else this interpreter with `-m`."""
    script = shutil.which("rl2", path=sysconfig.get_path("scripts"))
    return [script] if script else [sys.executable, "-m", "rl2cli"]


def train(spec: Path, *arguments: str, seed: int, limit: float = LIMIT) -> TrainRun:
    """Run `rl2 train` on `spec`, at most `limit` seconds, and read what it leaves; its run folder is removed.

    Raises:
        MeasurementError: It failed, or its record lacks what is to be measured.
    """
    with tempfile.TemporaryDirectory(prefix="rl2-bench-") as folder:
        run_dir = Path(folder) / "run"
        process = train_into(run_dir, spec, *arguments, seed=seed, limit=limit)
        try:
            summary = json.loads((run_dir / "summary.json").read_text("utf-8"))
            timings = [json.loads(line) for line in (run_dir / "timings.jsonl").read_text("utf-8").splitlines()]
        except (OSError, ValueError) as error:
            hint = f"is there room in {tempfile.gettempdir()}?"
            raise MeasurementError(f"the run left no record: {error}", hint=hint) from error
        return TrainRun(process, summary, timings)


def train_into(run_dir: Path, spec: Path, *arguments: str, seed: int, limit: float = LIMIT) -> Ended:
    """Run `rl2 train` on `spec`, at most `limit` seconds, and keep its run folder.

    Raises:
        MeasurementError: It failed.
    """
    command = [*own_command(), "train", str(spec), "--seed", str(seed), "--run-dir", str(run_dir), *arguments]
    return run_command(command, limit=limit)


def infer(run_dir: Path, *arguments: str) -> tuple[float, dict[str, Any]]:
    """Run `rl2 infer` on a run and return the seconds from Enter to its exit, and what `--json` says.

    Raises:
        MeasurementError: It failed.
    """
    process = run_command([*own_command(), "infer", str(run_dir), "--json", *arguments], limit=LIMIT)
    found: dict[str, Any] = json.loads(process.stdout)
    return process.seconds, found


def start_up(arguments: Sequence[str], exit_code: int) -> float:
    """Return the seconds that `rl2 ARGUMENTS` takes from Enter to its exit.

    Raises:
        MeasurementError: It did not end with `exit_code`.
    """
    return run_command([*own_command(), *arguments], limit=60.0, exit_code=exit_code).seconds
