"""Every fault of an environment, in every way it can be stepped, through the command: `--count N` cells, `--seed S`.

A cell passes where the command ends as it should, in time, names the environment, and leaves a checkpoint that loads;
where a worker is started anew, where the run goes on to its end and says that it is not exact.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl2cli.training.checkpoint import CheckpointStore

HERE = Path(__file__).parent
DEATHS = {"sigkill": -9, "sigsegv": -11, "os_exit": 7}
HANGS = ("hangs", "hangs_with_the_lock", "hangs_in_reset")
RAISES = ("raises", "raises_in_reset")
NUMBERS = ("nan_observation", "infinite_observation", "nan_reward")
CONTRACT = {
    "wrong_shape": "shape", "narrow_shape": "shape", "wrong_dtype": "dtype", "wrong_type": "observation",
    "reward_is_text": "reward", "flag_is_number": "terminated", "out_of_bounds": "outside its space",
    "too_many_values": "6 values",
}  # fmt: skip
FAULTS = (*DEATHS, *HANGS, *RAISES, *NUMBERS, *CONTRACT)
PLACES = ("in-process", "worker", "worker, restarted", "native")
TIMEOUT, SLACK = 3.0, 5.0

SPEC = """
name = "faults"
total_frames = {total}
device = "cpu"
[env]
id = "fault_environments:Faulty-v0"
num_envs = 4
workers = {workers}
vectorization = "{vectorization}"
timeout = {timeout}
max_restarts = {restarts}
kwargs = {{ fault = "{fault}", at = {at}, folder = '{folder}', once = {once} }}
[network]
hidden_sizes = [8]
[algorithm]
rollout_length = 8
minibatch_size = 32
epochs = 1
[evaluation]
every = 1_000_000
episodes = 1
stochastic_episodes = 0
[checkpoint]
every = 32
[logging]
tensorboard = false
"""


@dataclass(frozen=True)
class Cell:
    fault: str
    place: str
    at: int
    """Step of the environment in which it happens."""

    @property
    def is_restarted(self) -> bool:
        return self.place == "worker, restarted"


def cells(seed: int) -> list[Cell]:
    """Return the matrix; the seed says when each fault happens."""
    draw = random.Random(seed)
    found = []
    for fault, place in itertools.product(FAULTS, PLACES):
        if place == "worker, restarted" and fault not in (*DEATHS, *HANGS):
            continue  # what is wrong with an environment's answer does not go away
        found.append(Cell(fault, place, draw.randrange(17, 60)))
    return found


def run(cell: Cell, folder: Path) -> list[str]:
    """Train with the fault; return what is not as it should be, nothing where the cell passes."""
    ended, seconds, run_dir = _command(cell, folder)
    problems = [] if "Traceback" not in ended.stderr else ["a traceback of Python's"]
    if cell.is_restarted:
        return problems + _restart_problems(ended, run_dir)
    code = _expected_code(cell)
    if ended.returncode != code:
        problems.append(f"exit code {ended.returncode}, not {code}")
    problems += [f"not said: {word!r}" for word in _expected_words(cell) if word not in ended.stderr]
    if cell.fault in HANGS and seconds > TIMEOUT + SLACK:
        problems.append(f"found after {seconds:.1f} s")
    return problems + _checkpoint_problems(run_dir)


def _command(cell: Cell, folder: Path) -> tuple[subprocess.CompletedProcess[str], float, Path]:
    text = SPEC.format(
        total=32 * 12,
        workers=2 if cell.place.startswith("worker") else 0,
        vectorization="native" if cell.place == "native" else "single",
        timeout=TIMEOUT,
        restarts=int(cell.is_restarted),
        fault=cell.fault,
        at=cell.at,
        folder=folder,
        once=str(cell.is_restarted).lower(),
    )
    (folder / "faults.toml").write_text(text)
    run_dir = folder / "run"
    words = ["train", "faults.toml", "--run-dir", str(run_dir), "--allow-import", "fault_environments"]
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-m", "rl2cli", *words],
        cwd=folder, capture_output=True, text=True, timeout=1200, check=False,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    began = folder / "began"
    return ended, time.time() - float(began.read_text()) if began.exists() else 0.0, run_dir


def _expected_code(cell: Cell) -> int:
    if cell.fault in NUMBERS:
        return 4
    return DEATHS[cell.fault] if cell.fault in DEATHS and not cell.place.startswith("worker") else 3


def _expected_words(cell: Cell) -> list[str]:
    one, whole = "environment 1", "environments 0 to 3"
    if cell.fault in NUMBERS:
        return [one, "not finite"]
    who = whole if cell.place == "native" else one
    if cell.fault in CONTRACT:
        return [who, CONTRACT[cell.fault]]
    if cell.fault in RAISES:
        return [who, "raised ZeroDivisionError", "the wheel came off"]
    method = "reset" if cell.fault.endswith("in_reset") and cell.place != "native" else "step"
    return [f"{who} {'were' if who == whole else 'was'} in {method}", "after "]


def _restart_problems(ended: subprocess.CompletedProcess[str], run_dir: Path) -> list[str]:
    if ended.returncode:
        return [f"exit code {ended.returncode}, not 0: {ended.stderr[-300:]}"]
    events = [json.loads(line) for line in (run_dir / "timings.jsonl").read_text().splitlines()]
    summary, facts = (json.loads((run_dir / f"{name}.json").read_text()) for name in ("summary", "run"))
    checks: dict[str, Any] = {
        "an event": any(event["event"] == "restart" and "environment 1" in event["text"] for event in events),
        "a line of log.txt": " restart " in (run_dir / "log.txt").read_text(),
        "a warning": "worker 0 (environments 0 to 1)" in ended.stderr,
        "exactness withdrawn in summary.json": summary["exact"] is False and len(summary["inexact"]) == 1,
        "exactness withdrawn in run.json": facts.get("exact") is False,
        "all frames": summary["frames"] >= 32 * 12,
    }
    return [f"missing: {name}" for name, there in checks.items() if not there]


def _checkpoint_problems(run_dir: Path) -> list[str]:
    store = CheckpointStore(run_dir / "checkpoints", read_only=True)
    try:
        return [] if store.newest().frames > 0 else ["no checkpoint"]
    except Exception as error:
        return [f"no checkpoint that loads: {error}"]
    finally:
        store.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000, help="cells at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cells whose name has this")
    arguments = parser.parse_args()
    chosen = [cell for cell in cells(arguments.seed) if arguments.only in f"{cell.fault} {cell.place}"]
    failed = 0
    for cell in chosen[: arguments.count]:
        with tempfile.TemporaryDirectory() as folder:
            problems = run(cell, Path(folder))
        failed += bool(problems)
        print(f"{cell.fault:22} {cell.place:18} {'FAILED' if problems else 'ok':7} {'; '.join(problems)}", flush=True)
    print(f"{len(chosen[: arguments.count]) - failed} of {len(chosen[: arguments.count])} cells, seed {arguments.seed}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
