"""Damages what a run folder holds besides checkpoints, and reads it with the commands: words, never a traceback.

`python tests/rigs/mutate_records.py --count 1000 --seed 1`. Every damage is read by `rl2 show` and `rl2 list runs`,
every tenth also by `rl2 report` and `rl2 resume`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import mutations
import rig_runs
from mutations import Copy

from rl2cli.cli import dispatch

RECORDS = ("run.json", "resolved.toml", "spec.toml", "summary.json", "metrics.jsonl", "timings.jsonl", "log.txt")


def run(count: int, seed: int, folder: Path, slow_every: int = 10) -> tuple[Counter[str], list[str]]:
    """Damage `count` times; return how often what ended how, and the failures."""
    copy, seen, failures = Copy(folder), Counter[str](), []
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        path = draw.choice(_records(folder))
        how = draw.choice(mutations.FILE_DAMAGE)
        how(path, draw)
        for command in _commands(folder, is_slow=number % slow_every == slow_every - 1):
            code, said = command_line(command)
            seen[f"{command[0]} ends with {code}"] += 1
            if code not in (0, 2, 5, 6) or "Traceback" in said or "did not expect" in said:
                failures.append(f"seed {seed}, number {number}, {how.__name__} {path.name}: {command}: {said[-400:]}")
        copy.mend()
    return seen, failures


def _records(folder: Path) -> list[Path]:
    found = [folder / name for name in RECORDS] + [folder / "checkpoints" / "best.json"]
    return found + sorted((folder / "tensorboard").iterdir())


def _commands(folder: Path, is_slow: bool) -> list[list[str]]:
    fast = [["show", str(folder)], ["list", "runs", str(folder.parent)]]
    page = folder.parent / "page.html"
    page.unlink(missing_ok=True)
    return fast + [["report", str(folder), "--out", str(page)], ["resume", str(folder), "-q"]] * is_slow


def command_line(words: list[str]) -> tuple[int, str]:
    """Run a command in this process; return its exit code and all that it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = dispatch.run(words)
    return code, said.getvalue()


def main() -> int:
    """Run the rig as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = rig_runs.train("ppo", Path(root) / "runs" / "ppo")
        seen, failures = run(arguments.count, arguments.seed, folder)
    for what, number in sorted(seen.items()):
        print(f"{number:6} {what}")
    print("\n".join(failures[:20]) or "no failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
