"""Stable-Baselines3, and sbx where it is too, run as a script by an interpreter that has them."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rl2cli.benchmarks.processes import Ended, MeasurementError, run_command
from rl2cli.errors import UsageError

SCRIPT = Path(__file__).parent / "peers" / "sb3.py"
PYTHON_VARIABLE = "RL2_PEER_PYTHON"
PACKAGES = (
    "stable-baselines3==2.9.*",
    "sbx-rl==0.28.*",
    "gymnasium[mujoco]==1.4.*",
    "ale-py",
    "opencv-python-headless",
)
INSTALL = " ".join(["python -m venv peers && peers/bin/pip install", *(f'"{package}"' for package in PACKAGES)])
LIMIT = 900.0
"""Seconds that one measurement of the peer may take."""

Library = Literal["stable_baselines3", "sbx"]


@dataclass(frozen=True, slots=True)
class Solved:
    """One training to the target return."""

    seconds: float
    """From the start of the process to the end of the evaluation that reached it; infinite where none did."""
    frames: float
    """Until then; infinite where none did."""
    details: dict[str, float] = field(default_factory=dict)
    """Parts of the time."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One training of a number of frames."""

    seconds: float
    """From the start of the process to the end of the training, without the evaluation."""
    mean_return: float
    """Of the evaluation after it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An interpreter that has stable_baselines3. Its tasks and their settings are those of `peers/sb3.py`."""

    python: str
    versions: dict[str, str]

    @property
    def has_sbx(self) -> bool:
        """Whether it has sbx as well."""
        return "sbx-rl" in self.versions

    def solve(self, task: str, seed: int, *, check_every: int, threads: int = 1) -> Solved:
        """Train on `task` until an evaluation, one every `check_every` frames, reaches its target return.

        Raises:
            MeasurementError: The peer failed.
        """
        options = {"task": task, "seed": seed, "check-every": check_every, "threads": threads}
        ended, found = _call(self.python, "solve", options)
        solved = found["solved_time"]
        parts = {"s to imports done": found["imported_time"] - ended.started}
        parts |= {"s building": found["build_seconds"], "s evaluating": found["evaluation_seconds"]}
        if ended.cpu_seconds is not None:
            parts["processor s to exit"] = ended.cpu_seconds
        if solved is None:
            return Solved(math.inf, math.inf, parts)
        return Solved(solved - ended.started, float(found["frames"]), parts)

    def rate(
        self, task: str, seed: int, frames: int, *, library: Library = "stable_baselines3", threads: int = 1
    ) -> float:
        """Return frames/s of training alone; for an off-policy task without its first updates, in which sbx compiles.

        Raises:
            MeasurementError: The peer failed.
        """
        options = {"task": task, "seed": seed, "frames": frames, "library": library, "threads": threads}
        _, found = _call(self.python, "rate", options)
        return float(found["frames_per_second"])

    def score(self, task: str, seed: int, frames: int, *, threads: int = 1, limit: float = LIMIT) -> Scored:
        """Train on `task` for `frames` frames, then evaluate; it may take `limit` seconds.

        Raises:
            MeasurementError: The peer failed.
        """
        options = {"task": task, "seed": seed, "frames": frames, "threads": threads}
        ended, found = _call(self.python, "score", options, limit=limit)
        return Scored(found["trained_time"] - ended.started, float(found["mean_return"]))


def find_peer(python: str | None) -> Peer | None:
    """Return the peer run by `python`, else by RL2_PEER_PYTHON, else by this interpreter; None if that has no SB3.

    Raises:
        UsageError: The interpreter that was named cannot run the peer.
    """
    named = python or os.environ.get(PYTHON_VARIABLE)
    if not named and importlib.util.find_spec("stable_baselines3") is None:
        return None
    interpreter = named or sys.executable
    try:
        _, found = _call(interpreter, "versions", {})
    except MeasurementError as error:
        why = (error.last_words or error.message).splitlines()[-1]
        raise UsageError(
            f"{interpreter} cannot run Stable-Baselines3: {why}", hint=f"to get one that can: {INSTALL}"
        ) from error
    return Peer(interpreter, found["versions"])


def _call(
    python: str, measure: str, options: Mapping[str, object], limit: float = LIMIT
) -> tuple[Ended, dict[str, Any]]:
    arguments = [f"--{name}={value}" for name, value in options.items()]
    ended = run_command([python, str(SCRIPT), measure, *arguments], limit=limit)
    try:
        found = json.loads(ended.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        found = None
    if not isinstance(found, dict):
        hint = f"run it by itself: {python} {SCRIPT} {' '.join([measure, *arguments])}"
        raise MeasurementError(f"{SCRIPT.name} {measure} printed no JSON object", hint=hint)
    return ended, found
