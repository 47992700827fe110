"""Stable-Baselines3, run as a script by an interpreter that has it."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl2cli.benchmarks.processes import Ended, MeasurementError, run_command
from rl2cli.errors import UsageError

SCRIPT = Path(__file__).parent / "peers" / "sb3_ppo_cartpole.py"
PYTHON_VARIABLE = "RL2_PEER_PYTHON"
INSTALL = 'python -m venv peers && peers/bin/pip install "stable-baselines3==2.9.*"'
LIMIT = 900.0
"""Seconds that one measurement of the peer may take."""


@dataclass(frozen=True, slots=True)
class Solved:
    """One training to the target return."""

    seconds: float
    """From the start of the process to the end of the evaluation that reached it; infinite where none did."""
    frames: float
    details: dict[str, float] = field(default_factory=dict)
    """Parts of the time."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An interpreter that has stable_baselines3."""

    python: str
    versions: dict[str, str]

    def solve(self, settings: str, seed: int) -> Solved:
        """Train with the named settings until an evaluation reaches 475.

        Raises:
            MeasurementError: The peer failed.
        """
        ended, found = _call(self.python, "solve", "--settings", settings, "--seed", str(seed))
        solved = found["solved_time"]
        parts = {"s to imports done": found["imported_time"] - ended.started}
        parts |= {"s building": found["build_seconds"], "s evaluating": found["evaluation_seconds"]}
        if ended.cpu_seconds is not None:
            parts["processor s to exit"] = ended.cpu_seconds
        return Solved(math.inf if solved is None else solved - ended.started, float(found["frames"]), parts)

    def rate(self, settings: str, seed: int, frames: int) -> float:
        """Return frames/s of training alone.

        Raises:
            MeasurementError: The peer failed.
        """
        _, found = _call(self.python, "rate", "--settings", settings, "--seed", str(seed), "--frames", str(frames))
        return float(found["frames_per_second"])


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
        _, found = _call(interpreter, "versions")
    except MeasurementError as error:
        why = (error.hint or error.message).splitlines()[-1]
        raise UsageError(
            f"{interpreter} cannot run Stable-Baselines3: {why}", hint=f"to get one that can: {INSTALL}"
        ) from error
    return Peer(interpreter, found["versions"])


def _call(python: str, *arguments: str) -> tuple[Ended, dict[str, Any]]:
    ended = run_command([python, str(SCRIPT), *arguments], limit=LIMIT)
    try:
        found = json.loads(ended.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        found = None
    if not isinstance(found, dict):
        raise MeasurementError(f"{SCRIPT.name} {arguments[0]} printed no JSON object")
    return ended, found
