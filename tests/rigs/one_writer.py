"""Starts many commands on one run folder at once: exactly one may write to it, the others have to say why they do not.

    python tests/rigs/one_writer.py --count 200 --seed 1

Each round starts 20 commands, either `rl2 resume` of one run or `rl2 train --run-dir` with one folder; the winner is
stopped when all others have ended.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import tomli_w

sys.path.insert(0, str(Path(__file__).parent))
from kill_runs import PATIENCE, make_pair
from warm import Forked, fork, warm_up

STARTS = 20
REFUSED = 2
LONG = make_pair("ppo", "CartPole-v1", "native", 50_000_000)
SHORT = make_pair("ppo", "CartPole-v1", "native", 256)


def race(words: list[str], folder: Path, starts: int = STARTS) -> Iterator[str]:
    """Start `rl2 WORDS` so many times at once, all from one moment on; yield what is wrong with how they ended."""
    moment = time.time() + 0.05 * starts

    def wait() -> None:
        time.sleep(max(0.0, moment - time.time()))

    commands = [fork(words, folder, f"start{index}.txt", wait) for index in range(starts)]
    try:
        yield from _judged(commands)
    finally:
        for command in commands:
            command.kill()


def _judged(commands: list[Forked]) -> Iterator[str]:
    end = time.monotonic() + PATIENCE
    while sum(command.poll() is None for command in commands) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    running = [command for command in commands if command.poll() is None]
    if len(running) != 1:
        texts = [command.text() for command in commands if command.poll() == 0]
        yield f"{len(running)} of {len(commands)} go on, and {len(texts)} ended well: {texts}"
        return
    for command in commands:
        text = command.text()
        if command is not running[0] and (
            command.code != REFUSED or "Traceback" in text or not ("another process" in text or "holds a run" in text)
        ):
            yield f"exit code {command.code}: {text}"
    running[0].signal(signal.SIGINT)
    if running[0].wait(PATIENCE) != 128 + signal.SIGINT:
        yield f"the winner ended with {running[0].code}: {running[0].text()}"


def races(rounds: int, folder: Path, starts: int = STARTS) -> list[str]:
    """Hold so many rounds, of which every second one is of `rl2 resume`; return what was wrong."""
    (folder / "spec.toml").write_text(tomli_w.dumps(LONG.spec), encoding="utf-8")
    (folder / "short.toml").write_text(tomli_w.dumps(SHORT.spec), encoding="utf-8")
    short = fork(["train", "short.toml", "-q", "--run-dir", "short"], folder, "short.txt")
    if short.wait(PATIENCE) != 0:
        raise RuntimeError(f"the run to resume failed: {short.text()}")
    problems: list[str] = []
    for number in range(rounds):
        words = ["train", "spec.toml", "-q", "--run-dir", f"new{number}"]
        if number % 2:
            shutil.rmtree(folder / "run", ignore_errors=True)
            shutil.copytree(folder / "short", folder / "run")
            words = ["resume", "run", "-q", "--frames", "50_000_000"]
        found = [f"round {number}, {words[0]}: {problem}" for problem in race(words, folder, starts)]
        print(f"{words[0]:<10}{starts:>8}{'no' if found else 'yes':>14}", flush=True)
        problems += found
    return problems


def main() -> int:
    """Run the rig and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help=f"starts, in rounds of {STARTS}")
    parser.add_argument("--seed", type=int, default=1, help="there is nothing to draw: the machine decides who wins")
    asked = parser.parse_args()
    warm_up()
    folder = Path(tempfile.mkdtemp(prefix="rl2-one-writer-"))
    print(f"{'command':<10}{'starts':>8}{'one winner':>14}", flush=True)
    problems = races(-(-asked.count // STARTS), folder)
    print("\n".join(problems))
    if not problems:
        shutil.rmtree(folder)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
