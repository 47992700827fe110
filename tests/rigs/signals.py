"""Sends SIGINT or SIGTERM to runs at random moments: what they leave, how they end, and how soon.

    python tests/rigs/signals.py --count 200 --seed 1

A run has to save its last finished iteration, print how to go on, and exit with 130 or 143 within an update, a step and
a save; gone on with, it has to end with the digest of a run that was never stopped. A quarter get a second signal,
which has to end them there and then. Some are signalled while they start, in processes that were not forked.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

sys.path.insert(0, str(Path(__file__).parent))
from kill_runs import PATIENCE, Pair, digest_of_run, make_pair
from warm import Forked, Gauge, fork, warm_up

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SLOW_STEP = 0.05
"""Seconds that a step of the slow environments takes."""
LIMIT = 12.0
"""Seconds within which a signalled run has to have ended, on a machine that does other things as well."""
AT_ONCE = 5.0
_SLOW_ROLLOUT = 512
"""Steps of a rollout of the slow environments: 26 seconds, so that one which is finished first shows."""

SINGLE: dict[str, Any] = {"vectorization": "single", "workers": 0}
RUNS = (
    make_pair("ppo", "CartPole-v1", "native", 4096),
    make_pair("ppo", "CartPole-v1", "overlapped", 4096),
    make_pair("ppo", "LunarLander-v3", "in process", 3072, env=SINGLE),
    make_pair("dqn", "CartPole-v1", "native", 1280),
)
SLOW = (
    make_pair("ppo", "CartPole-v1", "native", 4096, algorithm={"rollout_length": _SLOW_ROLLOUT}),
    make_pair("ppo", "CartPole-v1", "overlapped", 4096, algorithm={"rollout_length": _SLOW_ROLLOUT}),
)


@dataclass
class Outcome:
    """What became of the signals of one kind."""

    name: str
    signals: int = 0
    right: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


def be_slow() -> None:
    """Have every step of a native vector environment take a while."""
    from rl2cli.envs.gymnasium_vector import GymnasiumVectorAdapter

    step = GymnasiumVectorAdapter.step

    def slow(self: GymnasiumVectorAdapter, action: Any) -> Any:
        time.sleep(SLOW_STEP)
        return step(self, action)

    GymnasiumVectorAdapter.step = slow  # type: ignore[method-assign]


def signal_runs(pair: Pair, count: int, seed: int, folder: Path, *, slow: bool = False) -> Outcome:
    """Signal `count` runs of `pair`, each once or twice, and go on with it."""
    outcome = Outcome(f"{pair.name}{', slow' if slow else ''}")
    folder.mkdir(parents=True)
    (folder / "spec.toml").write_text(tomli_w.dumps(pair.spec), encoding="utf-8")
    began = time.monotonic()
    if not slow:
        whole = fork(["train", "spec.toml", "-q", "--run-dir", "whole"], folder, "whole.txt")
        if whole.wait(PATIENCE) != 0:
            raise RuntimeError(f"the uninterrupted run failed: {whole.text()}")
    seconds = 4.0 if slow else time.monotonic() - began
    chance = random.Random(f"{outcome.name} {seed}")
    while outcome.signals < count:
        run = folder / f"run{outcome.signals}"
        before = outcome.signals
        problems = list(_one_run(run, chance, outcome, seconds, slow))
        outcome.right += outcome.signals > before and not problems
        outcome.failures += [f"{outcome.name}, seed {seed}, {run.name}: {problem}" for problem in problems]
        if not problems:
            shutil.rmtree(run, ignore_errors=True)
    return outcome


def _one_run(run: Path, chance: random.Random, outcome: Outcome, seconds: float, slow: bool) -> Iterator[str]:
    words = ["train", "spec.toml", "-q", "--run-dir", str(run)]
    gauge = Gauge()

    def prepare() -> None:
        gauge.watch()
        if slow:
            be_slow()

    process = fork(words, run.parent, f"{run.name}.txt", prepare)
    process.wait(chance.random() * seconds)
    number, twice = chance.choice(SIGNALS), chance.random() < 0.25
    if process.poll() is not None:
        return  # it had ended; the next one is signalled sooner or later
    outcome.signals += 1
    sent = time.monotonic()
    process.signal(number)
    if twice:
        process.wait(chance.random() * 0.05)
        process.signal(number)
    ended = process.wait(AT_ONCE if twice else LIMIT)
    outcome.slowest = max(outcome.slowest, time.monotonic() - sent)
    if ended is None:
        process.kill()
        yield f"it went on {AT_ONCE if twice else LIMIT} seconds after {number.name}: {process.text()}"
        return
    yield from _ending(process, number, run, twice)
    if not twice and run.exists() and _newest(run) != max(gauge.frames, 0):
        yield f"frame {_newest(run)} is saved, not {gauge.frames}"
    if not slow:
        yield from _going_on(run)


def _ending(process: Forked, number: signal.Signals, run: Path, twice: bool) -> Iterator[str]:
    text = process.text()
    if process.code != 128 + number and not (process.code == 0 and text.replace(str(run), "").strip() == ""):
        yield f"exit code {process.code} after {number.name}: {text}"
    if "Traceback" in text:
        yield f"a traceback: {text}"
    if process.code == 128 + number and "rl2 resume" not in text:
        yield f"it does not say how to go on: {text!r}"
    if not twice and process.code == 128 + number and (run / ".lock-holder").exists():
        yield "the folder is not given back"


def _newest(run: Path) -> int | None:
    """Return the frames of the newest checkpoint."""
    return max((int(path.name) for path in (run / "checkpoints").glob("[0-9]*")), default=None)


def _going_on(run: Path) -> Iterator[str]:
    """Yield what is wrong with the run once it was gone on with to its end."""
    if _newest(run) is None:
        return
    resumed = fork(["resume", str(run), "-q"], run.parent, f"{run.name}.txt")
    if resumed.wait(PATIENCE) != 0:
        resumed.kill()
        yield f"resuming it: exit code {resumed.code}: {resumed.text()}"
        return
    found, whole = digest_of_run(run), digest_of_run(run.with_name("whole"))
    if found["digest"] != whole["digest"]:
        yield f"the digest differs in {[name for name, part in whole['parts'].items() if found['parts'][name] != part]}"
    elif (run / "metrics.jsonl").read_bytes() != (run.with_name("whole") / "metrics.jsonl").read_bytes():
        yield "metrics.jsonl differs"


def signal_starts(count: int, seed: int, folder: Path) -> Outcome:
    """Signal commands while they start, in fresh processes; nothing may come of it but a line and the exit code."""
    outcome, chance = Outcome("start-up"), random.Random(seed)
    folder.mkdir(parents=True)
    (folder / "spec.toml").write_text(tomli_w.dumps(RUNS[0].spec), encoding="utf-8")
    while outcome.signals < count:
        run = folder / f"run{outcome.signals}"
        before = outcome.signals
        problems = list(_one_start(run, chance, outcome))
        outcome.right += outcome.signals > before and not problems
        outcome.failures += [f"start-up, seed {seed}, {run.name}: {problem}" for problem in problems]
    return outcome


def _one_start(run: Path, chance: random.Random, outcome: Outcome) -> Iterator[str]:
    program = (
        "import signal, sys; from rl2cli.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "print('begun', flush=True); sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", program, "train", "spec.toml", "-q", "--run-dir", run.name]
    process = subprocess.Popen(
        words, cwd=run.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()  # before it the interpreter itself starts, and takes signals in its own way
    time.sleep(0.01 + chance.random() * 3.0)
    number = chance.choice(SIGNALS)
    if process.poll() is None:
        outcome.signals += 1
        sent = time.monotonic()
        process.send_signal(number)
        _, text = process.communicate(timeout=PATIENCE)
        outcome.slowest = max(outcome.slowest, time.monotonic() - sent)
        if process.returncode != 128 + number or "Traceback" in text or number.name not in text:
            yield f"exit code {process.returncode} after {number.name}: {text}"
    process.communicate(timeout=PATIENCE)


def main() -> int:
    """Run the rig and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="signals, over all kinds")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    warm_up()
    root = Path(tempfile.mkdtemp(prefix="rl2-signals-"))
    each = -(-asked.count // (len(RUNS) + len(SLOW) + 1))
    print(f"{'runs':<36}{'signals':>8}{'right':>7}{'slowest':>9}", flush=True)
    outcomes = []
    for index, (pair, slow) in enumerate([*((pair, False) for pair in RUNS), *((pair, True) for pair in SLOW)]):
        outcomes.append(signal_runs(pair, each, asked.seed, root / str(index), slow=slow))
        _print(outcomes[-1])
    outcomes.append(signal_starts(each, asked.seed, root / "start"))
    _print(outcomes[-1])
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    signals, right = sum(one.signals for one in outcomes), sum(one.right for one in outcomes)
    _print(Outcome("all", signals, right, max(one.slowest for one in outcomes)))
    print("\n".join(failures))
    if not failures:
        shutil.rmtree(root)
    return 1 if failures else 0


def _print(one: Outcome) -> None:
    print(f"{one.name:<36}{one.signals:>8}{one.right:>7}{one.slowest:>8.1f}s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
