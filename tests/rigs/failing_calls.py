"""Lets one system call of a real run's saves fail, or the process die at it, for every such call in turn.

`python tests/rigs/failing_calls.py --count 1000 --seed 1`, on Linux with strace: at most so many of them, drawn. A fork
of this process trains; strace takes hold of it when its first or second save begins. After each, the run folder has
to hold one of the checkpoints of an undisturbed run, bit for bit, and to be resumed to the very end that one had. Where
the process ended in its first save, it may hold none, and then says so.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import rig_runs

from rl2cli.errors import NoCheckpointError, RL2Error
from rl2cli.training.checkpoint_folder import Checkpoint, CheckpointFolder
from rl2cli.training.checkpoint_writer import CheckpointWriter

CALLS = ("mkdir", "openat", "write", "fsync", "rename", "unlink", "unlinkat", "rmdir", "ftruncate")
FAULTS = ("signal=KILL", "error=ENOSPC", "error=EIO")
TRACEBACK = 70
KEEP = 9


class Point(NamedTuple):
    """What happens at which call of its kind, counted in each thread."""

    call: str
    number: int
    fault: str
    on_storage_error: str
    save: int
    """The save from which on calls are counted: 0 is the run's first one."""

    def __str__(self) -> str:
        return f"{self.call} {self.number} from save {self.save} on, {self.fault} {self.on_storage_error}"


class Reference(NamedTuple):
    """An undisturbed run."""

    kind: str
    digests: dict[int, str]
    outcome: str
    first: int
    """The checkpoint that is there before anything fails."""


def can_trace() -> bool:
    """Return whether strace is here and may take hold of a process."""
    if shutil.which("strace") is None:
        return False
    child = subprocess.Popen(["sleep", "5"])
    try:
        traced = subprocess.run(["timeout", "1", "strace", "-p", str(child.pid)], capture_output=True, text=True)
        return "attached" in traced.stderr
    finally:
        child.kill()
        child.wait()


def make_reference(kind: str, root: Path) -> Reference:
    """Train the run that nothing disturbs, keeping every checkpoint."""
    run = rig_runs.train(kind, root / f"{kind}-whole", checkpoint={"keep": KEEP})
    folder = CheckpointFolder(run / "checkpoints")
    digests = {frames: _digest(folder.load(frames, segments=False)) for frames in folder.list_frames()}
    return Reference(kind, digests, rig_runs.outcome(run), min(digests))


def _digest(checkpoint: Checkpoint) -> str:
    """Return a hash of the state alone: after a failed save a replay buffer is cut into other pieces.

    Nor which policy is the best: one whose save failed is not.
    """
    state = {key: value for key, value in checkpoint.state.items() if key not in ("best", "evaluation")}
    return rig_runs.digest(replace(checkpoint, state=state, segments=[]))


def points(reference: Reference, root: Path, save: int) -> list[Point]:
    """Return every call at which something may happen: of the first save alone, or of the second and all later ones."""
    log, run = root / "calls", root / f"{reference.kind}-counted-{save}"
    _disturbed(reference, run, "continue", save, ["-o", str(log), "-e", f"trace={','.join(CALLS)}"])
    made = log.read_text()
    if save == 0:
        made = made[: [found.start() for found in re.finditer(r'mkdir\("[^"]*/\.saving-', made)][1]]
    counts = Counter(re.findall(r"^(\d+) +(\w+)\(", made, re.MULTILINE))
    most = {call: max([number for (_, name), number in counts.items() if name == call], default=0) for call in CALLS}
    return [
        Point(call, number + 1, fault, mode, save)
        for call, highest in most.items()
        for number in range(highest)
        for fault in FAULTS
        for mode in (("continue",) if "KILL" in fault else ("continue", "stop"))
    ]


def check(reference: Reference, point: Point, root: Path) -> tuple[str, list[str]]:
    """Train with that fault; return how the process ended, and what is wrong with what it left."""
    run = root / "run"
    inject = ["-o", os.devnull, "-e", f"trace={point.call}", "-e"]
    inject.append(f"inject={point.call}:{point.fault}:when={point.number}")
    code = _disturbed(reference, run, point.on_storage_error, point.save, inject)
    ended = {0: "ended with 0", 5: "ended with 5", -9: "killed", TRACEBACK: "traceback"}.get(code, f"ended with {code}")
    problems = [] if ended in ("ended with 0", "ended with 5", "killed") else [f"the process {ended}"]
    may_be_none = point.save == 0 and ended != "ended with 0"
    problems += _left(reference, run, is_killed=code == -9, may_be_none=may_be_none)
    shutil.rmtree(run)
    return ended, problems


def _left(reference: Reference, run: Path, is_killed: bool, may_be_none: bool) -> list[str]:
    try:
        loaded = rig_runs.newest(run)
    except NoCheckpointError as error:
        return [] if may_be_none and "damaged" not in error.message else [f"nothing is left: {error.message}"]
    try:
        if reference.digests.get(loaded.frames) != _digest(loaded) or loaded.frames < reference.first:
            return [f"checkpoint {loaded.frames} is none of the undisturbed run's"]
        if loaded.notes:
            return [f"damaged: {loaded.notes}"]
        problems = [] if is_killed else [f"{path} is left" for path in run.glob("checkpoints/**/.saving-*")]
        rig_runs.resume(run)
        return problems + ["resumed, it ended otherwise"] * (rig_runs.outcome(run) != reference.outcome)
    except Exception as error:
        return [f"it cannot be resumed: {type(error).__name__}: {error}"]


def _disturbed(reference: Reference, run: Path, mode: str, save: int, options: list[str]) -> int:
    """Train in a fork, under strace from a save on; return the exit code, or minus the signal."""
    child = os.fork()
    if child == 0:
        _train_and_exit(reference.kind, run, mode, save)
    os.waitpid(child, os.WUNTRACED)
    strace = subprocess.Popen(["strace", "-f", "-p", str(child), *options], stderr=subprocess.PIPE, text=True)
    assert strace.stderr is not None
    for line in strace.stderr:
        if "attached" in line:
            break
    os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, 0)
    strace.communicate()
    return os.waitstatus_to_exitcode(status)


def _train_and_exit(kind: str, run: Path, mode: str, save: int) -> None:
    code = TRACEBACK
    try:
        os.dup2(os.open(run.with_suffix(".said"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
        _stop_at(save)
        rig_runs.train(kind, run, checkpoint={"keep": KEEP, "on_storage_error": mode})
        code = 0
    except RL2Error as error:
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def _stop_at(save: int) -> None:
    real, calls = CheckpointWriter.write, iter(range(10**6))

    def write(*arguments: Any) -> None:
        if next(calls) == save:
            os.kill(os.getpid(), signal.SIGSTOP)
        real(*arguments)

    CheckpointWriter.write = write  # type: ignore[method-assign]


def run(count: int, seed: int, root: Path, kinds: tuple[str, ...]) -> tuple[Counter[str], list[str]]:
    """Try `count` points, drawn from all; return what came of them, and the failures."""
    seen, failures = Counter[str](), []
    references = {kind: make_reference(kind, root) for kind in kinds}
    cases = [(kind, each, save) for kind, each in references.items() for save in (0, 1)]
    every = [(kind, point) for kind, each, save in cases for point in points(each, root, save)]
    chosen = every if count >= len(every) else random.Random(seed).sample(every, count)
    for kind, point in chosen:
        ended, problems = check(references[kind], point, root)
        seen[f"{'first' if point.save == 0 else 'later'} save, {point.call} {point.fault}: {ended}"] += 1
        failures += [f"{kind}, {point}: {problem}" for problem in problems]
    return seen, [*failures, *([] if chosen else ["nothing was tried"])]


def main() -> int:
    """Run the rig as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", default=list(rig_runs.KINDS), choices=rig_runs.KINDS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        seen, failures = run(arguments.count, arguments.seed, Path(root), tuple(arguments.kinds))
    for what, number in sorted(seen.items()):
        print(f"{number:6} {what}")
    print(f"{seen.total()} in all, seed {arguments.seed}, {len(failures)} failures", *failures[:40], sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
