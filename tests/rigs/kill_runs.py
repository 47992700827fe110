"""Kills runs at random instants, resumes them until they end, and compares each with one that was never interrupted.

    python tests/rigs/kill_runs.py --count 1000 --seed 1

Every kill is SIGKILL to the whole process group. A third are aimed at a save: they come a moment after its temporary
folder appears. One counts as inside a save where a half-written one is left on the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
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
from warm import Forked, Gauge, fork, warm_up

PATIENCE = 1200.0
"""Seconds that one process may take, also on a busy machine."""
_HALF_DONE = (".saving-", ".removing-", ".superseded-")
_ATARI = {
    "image_size": [20, 20],
    "max_episode_steps": 40,
    "atari": {"terminal_on_life_loss": True, "noop_max": 0},
}
_CNN = {"name": "cnn", "channels": [4], "kernel_sizes": [4], "strides": [4], "hidden_sizes": [16]}
_PPO = {"name": "ppo", "rollout_length": 16, "minibatch_size": 32, "epochs": 2}
_REPLAY = {"buffer_size": 300, "learning_starts": 64, "batch_size": 16, "updates_per_frame": 0.25}


@dataclass(frozen=True)
class Pair:
    """An algorithm on an environment, collected in one of the ways there are."""

    algorithm: str
    environment: str
    way: str
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        """Its words in the table."""
        return f"{self.algorithm} {self.environment} {self.way}"


def make_pair(algorithm: str, environment: str, way: str, frames: int, /, **tables: dict[str, Any]) -> Pair:
    """Return a pair with small settings, which `tables` change."""
    settings: dict[str, Any] = {"name": algorithm, **(_PPO if algorithm == "ppo" else _REPLAY)}
    spec: dict[str, Any] = {
        "name": "killed",
        "total_frames": frames,
        "device": "cpu",
        "threads": 1,
        "compile": False,
        "overlap": way == "overlapped",
        "env": {"id": environment, "num_envs": 4, **tables.get("env", {})},
        "network": tables.get("network", {"hidden_sizes": [16]}),
        "algorithm": settings | tables.get("algorithm", {}),
        "evaluation": {"every": frames // 3, "episodes": 1, "stochastic_episodes": 1},
        "checkpoint": {"every": max(frames // 16, 1), "keep": 2},
        "logging": {"tensorboard": True, "every": 1},
    }
    return Pair(algorithm, environment, way, spec)


IN_PROCESS: dict[str, Any] = {"vectorization": "single", "workers": 0}
WORKERS: dict[str, Any] = {"vectorization": "single", "workers": 2}
PAIRS = (
    make_pair("ppo", "CartPole-v1", "native", 2048),
    make_pair("ppo", "Pendulum-v1", "in process", 1536, env=IN_PROCESS),
    make_pair("ppo", "LunarLander-v3", "in process", 1536, env=IN_PROCESS),
    make_pair("ppo", "LunarLander-v3", "workers", 1536, env=WORKERS),
    make_pair("ppo", "ALE/Pong-v5", "overlapped", 384, env=_ATARI, network=_CNN),
    make_pair("ppo", "CartPole-v1", "overlapped", 2048, algorithm={"normalize_observation": True}),
    make_pair("sac", "CartPole-v1", "native", 480),
    make_pair("sac", "Pendulum-v1", "in process", 480, env=IN_PROCESS, algorithm={"normalize_observation": True}),
    make_pair("sac", "LunarLander-v3", "in process", 480, env=IN_PROCESS),
    make_pair("sac", "ALE/Pong-v5", "native", 192, env=_ATARI, network=_CNN),
    make_pair("dqn", "CartPole-v1", "native", 640, algorithm={"prioritized": True, "n_step": 3}),
    make_pair("dqn", "LunarLander-v3", "in process", 640, env=IN_PROCESS),
    make_pair("dqn", "ALE/Pong-v5", "native", 256, env=_ATARI, network=_CNN),
)
"""Every pair that exists; Pendulum has no discrete actions for DQN."""


@dataclass
class Outcome:
    """What became of one pair."""

    pair: Pair
    kills: int = 0
    inside: int = 0
    """Kills that left a half-written save."""
    runs: int = 0
    identical: int = 0
    most_lost: float = 0.0
    """Of all kills, in checkpoint intervals."""
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Truth:
    """What the uninterrupted run came to."""

    digest: dict[str, Any]
    record: bytes
    steps: dict[str, list[int]]
    seconds: float


def kill_runs(pair: Pair, count: int, seed: int, folder: Path) -> Outcome:
    """Kill runs of `pair` until `count` kills have hit, and return what came of them."""
    outcome = Outcome(pair)
    folder.mkdir(parents=True)
    (folder / "spec.toml").write_text(tomli_w.dumps(pair.spec), encoding="utf-8")
    truth = _uninterrupted(folder)
    chance = random.Random(f"{pair.name} {seed}")
    while outcome.kills < count:
        run = folder / f"run{outcome.runs}"
        problems = list(_one_run(run, chance, outcome, truth))
        outcome.runs += 1
        outcome.identical += not problems
        outcome.failures += [f"{pair.name}, seed {seed}, {run.name}: {problem}" for problem in problems]
        print(f"{pair.name}: {outcome.kills} kills, {outcome.identical} of {outcome.runs} runs", file=sys.stderr)
        if not problems:
            shutil.rmtree(run)
    return outcome


def _uninterrupted(folder: Path) -> Truth:
    began = time.monotonic()
    ended = fork(["train", "spec.toml", "-q", "--run-dir", "whole"], folder, "whole.txt")
    if ended.wait(PATIENCE) != 0:
        ended.kill()
        raise RuntimeError(f"the uninterrupted run failed: {ended.text()}")
    run = folder / "whole"
    return Truth(digest_of_run(run), (run / "metrics.jsonl").read_bytes(), _points(run), time.monotonic() - began)


def _one_run(run: Path, chance: random.Random, outcome: Outcome, truth: Truth) -> Iterator[str]:
    """Start, kill and resume one run until it ends; yield what is wrong with it."""
    gauge, kills, interval = Gauge(), 0, int(outcome.pair.spec["checkpoint"]["every"])
    most_kills = chance.randint(2, 6)
    while True:
        begun = (run / "checkpoints").is_dir() and any(name.isdigit() for name in os.listdir(run / "checkpoints"))
        if not begun and run.exists():
            shutil.rmtree(run)  # killed before its first checkpoint: there is nothing to resume, so it starts again
        words = ["resume", str(run), "-q"] if begun else ["train", "spec.toml", "-q", "--run-dir", str(run)]
        before = gauge.frames
        gauge.clear()
        process = fork(words, run.parent, f"{run.name}.txt", gauge.watch)
        if kills < most_kills and _kill(process, run, chance, truth):
            kills += 1
            outcome.kills += 1
            outcome.inside += _left_half_done(run)
            frames = gauge.frames
        elif process.wait(PATIENCE) is None:
            process.kill()
            yield f"it hung: {process.text()}"
            return
        elif process.code != 0:
            yield f"exit code {process.code}: {process.text()}"
            return
        else:
            frames = -1
        if begun and gauge.resumed_from >= 0 and before >= 0:
            lost = before - gauge.resumed_from
            outcome.most_lost = max(outcome.most_lost, lost / interval)
            # One interval, and what was trained while the save that was under way was written: less than another.
            if lost > 2 * interval + 2 * _iteration(outcome.pair):
                yield f"a kill lost {lost} frames"
        if frames < 0 and process.code == 0:
            break
    yield from _differences(run, truth)


def _iteration(pair: Pair) -> int:
    return int(pair.spec["env"]["num_envs"] * pair.spec["algorithm"].get("rollout_length", 1))


def _kill(process: Forked, run: Path, chance: random.Random, truth: Truth) -> bool:
    """Kill the process at a random instant; return whether it was still there."""
    if chance.random() < 0.4:
        _await_save(process, run, chance.randint(1, 6))
        time.sleep(chance.random() * 0.004)
    else:
        process.wait(chance.random() * truth.seconds * 0.7)
    if process.poll() is not None:
        return False
    process.kill()
    return process.code == -9


def _await_save(process: Forked, run: Path, which: int) -> None:
    """Return when the save of that number begins, or the process has ended."""
    checkpoints, seen = run / "checkpoints", False
    while process.poll() is None:
        saving = any(name.startswith(".saving-") for folder in _folders(checkpoints) for name in _names(folder))
        if saving and not seen:
            which -= 1
            if which <= 0:
                return
        seen = saving
        time.sleep(0.0002)


def _left_half_done(run: Path) -> bool:
    return any(name.startswith(_HALF_DONE) for folder in _folders(run / "checkpoints") for name in _names(folder))


def _folders(checkpoints: Path) -> tuple[Path, Path]:
    return checkpoints, checkpoints / "segments"


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _differences(run: Path, truth: Truth) -> Iterator[str]:
    digest = digest_of_run(run)
    if digest["digest"] != truth.digest["digest"]:
        parts = [name for name, value in digest["parts"].items() if value != truth.digest["parts"].get(name)]
        yield f"the digest differs in {', '.join(parts)}"
    if (run / "metrics.jsonl").read_bytes() != truth.record:
        yield "metrics.jsonl differs"
    points = _points(run)
    if missing := {tag for tag in truth.steps if not tag.startswith("time/")} - set(points):
        yield f"TensorBoard lacks {', '.join(sorted(missing))}"
    for tag, steps in points.items():
        if len(set(steps)) != len(steps):
            yield f"TensorBoard has a point of {tag} twice"
        if not tag.startswith("time/") and steps != truth.steps.get(tag, []):
            yield f"TensorBoard has other points of {tag}: {len(steps)}, not {len(truth.steps.get(tag, []))}"


def digest_of_run(run: Path) -> dict[str, Any]:
    """Return what `rl2 doctor --digest --json` prints."""
    asked = fork(["doctor", "--digest", run.name, "--json"], run.parent, "digest.txt")
    if asked.wait(PATIENCE) != 0:
        raise RuntimeError(f"rl2 doctor --digest failed: {asked.text()}")
    found: dict[str, Any] = json.loads(asked.text())
    return found


def _points(run: Path) -> dict[str, list[int]]:
    """Return the steps of every scalar that TensorBoard shows."""
    if not (run / "tensorboard").is_dir():
        return {}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def same_as_a_fresh_process(pair: Pair, folder: Path) -> bool:
    """Return whether a run in a process of its own has the digest of a forked one."""
    words = [sys.executable, "-m", "rl2cli", "train", "spec.toml", "-q", "--run-dir", "fresh"]
    subprocess.run(words, cwd=folder, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
    return bool(digest_of_run(folder / "fresh")["digest"] == digest_of_run(folder / "whole")["digest"])


def main() -> int:
    """Run the rig and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="kills, over all pairs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a text that the names of pairs have to contain")
    parser.add_argument("--fresh", action="store_true", help="also compare with a process that was not forked")
    asked = parser.parse_args()
    warm_up()
    pairs = [pair for pair in PAIRS if asked.only in pair.name]
    failures = []
    root = Path(tempfile.mkdtemp(prefix="rl2-kill-runs-"))
    print(f"{'pair':<36}{'kills':>7}{'in a save':>11}{'runs':>6}{'identical':>11}{'most lost':>11}", flush=True)
    total = Outcome(PAIRS[0])
    for pair in pairs:
        folder = root / pair.name.replace("/", "-").replace(" ", "-")
        outcome = kill_runs(pair, -(-asked.count // len(pairs)), asked.seed, folder)
        if asked.fresh and not same_as_a_fresh_process(pair, folder):
            outcome.failures.append(f"{pair.name}: a fresh process gives another digest than a forked one")
        _print(pair.name, outcome)
        failures += outcome.failures
        for name in ("kills", "inside", "runs", "identical"):
            setattr(total, name, getattr(total, name) + getattr(outcome, name))
        total.most_lost = max(total.most_lost, outcome.most_lost)
    _print("all", total)
    print("\n".join(failures))
    if not failures:
        shutil.rmtree(root)
    return 1 if failures else 0


def _print(name: str, one: Outcome) -> None:
    numbers = f"{one.kills:>7}{one.inside:>11}{one.runs:>6}{one.identical:>11}"
    print(f"{name:<36}{numbers}{one.most_lost:>10.2f}i", flush=True)


if __name__ == "__main__":
    sys.exit(main())
