"""Kills workers of Ray, and cuts a host off, in the middle of runs: they have to end as if nothing had happened.

    python tests/rigs/ray_faults.py --iterations 10000 --every 100 --seed 1
    sudo python tests/rigs/ray_faults.py --iterations 300 --cut

Without `--cut` a cluster of this machine is used, and a random worker is killed every so many iterations. With it, this
machine and a network namespace that the rig makes are two hosts of one cluster, whose link is taken away half-way. The
weights, optimiser, generators, record and episodes have to be those of the same run stepped in this process alone. It
also says how much time each loss took, and how the learner's memory grew.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent))
from rig_runs import digest, newest
from second_host import FAR, INSIDE, NEAR, cut_off, run, second_host

from rl2cli.reporting.plain import QuietView
from rl2cli.reporting.progress import Progress
from rl2cli.spec import load_spec_dict
from rl2cli.training import session

WORKER = "ray::RayWorker"
PORT = 26379
ROLLOUT, NUM_ENVS = 32, 8


@dataclass
class Watcher(QuietView):
    """Does something to the run every so many iterations, and writes down how long each takes."""

    every: int
    act: Any
    seconds: list[tuple[int, float]] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    done: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(sys.stderr)
        self._last = time.perf_counter()

    def due(self) -> bool:
        return True

    def update(self, progress: Progress) -> None:
        now = time.perf_counter()
        self.seconds.append((progress.iteration, now - self._last))
        self._last = now
        self.memory.append(psutil.Process().memory_info().rss / 1e6)
        if self.every and progress.iteration % self.every == 0 and progress.frames < progress.total_frames:
            self.act()
            self.done.append(progress.iteration)

    @property
    def lost(self) -> list[float]:
        """Seconds that each fault cost: what the slowest of the next iterations took longer than the median."""
        usual = sorted(seconds for _, seconds in self.seconds)[len(self.seconds) // 2]
        after = [[s for i, s in self.seconds if at < i <= at + max(2, self.every // 2)] for at in self.done]
        return [max(each) - usual for each in after if each]


def spec(iterations: int, seed: int, **scale: Any) -> dict[str, Any]:
    frames = iterations * ROLLOUT * NUM_ENVS
    return {
        "name": "faults",
        "seed": seed,
        "total_frames": frames,
        "device": "cpu",
        "threads": 1,
        "compile": False,
        "env": {"id": "CartPole-v1", "num_envs": NUM_ENVS, "vectorization": "single"},
        "network": {"hidden_sizes": [16]},
        "algorithm": {"rollout_length": ROLLOUT, "minibatch_size": 128, "epochs": 1},
        "evaluation": {"every": frames, "episodes": 1, "stochastic_episodes": 0},
        "checkpoint": {"every": frames // 4},
        "scale": {"engine": "local", "envs_per_worker": 2, **scale},
    }


def train(folder: Path, settings: dict[str, Any], watcher: Watcher) -> str:
    summary = session.train(load_spec_dict(settings), view=watcher, run_dir=folder)
    return digest(newest(Path(summary.run_dir)))


def kill_one(dice: random.Random) -> None:
    """Kill one of the workers that this process's cluster has."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith(WORKER):
                found.append(process)
        except psutil.Error:
            continue
    if found:
        dice.choice(found).kill()


@contextmanager
def two_hosts(folder: Path) -> Iterator[None]:
    """Make a second host, and a cluster of Ray with a node on each."""
    ray = str(Path(sys.executable).with_name("ray"))
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ.update(environment)
    common = ("--include-dashboard=false", "--disable-usage-stats", "--object-store-memory=100000000")
    with second_host():
        try:
            head = ("--head", f"--port={PORT}", f"--node-ip-address={NEAR}", "--num-cpus=1", f"--temp-dir={folder}")
            run(ray, "start", *head, *common)
            far = (f"--address={NEAR}:{PORT}", f"--node-ip-address={FAR}", "--num-cpus=1")
            run(*INSIDE, ray, "start", *far, *common[1:])
            yield
        finally:
            _end_cluster(folder)


def _end_cluster(folder: Path) -> None:
    """End the processes that have this cluster's folder or port in their command line."""
    mine = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if process.pid != os.getpid() and "ray" in line and (str(folder) in line or f"{NEAR}:{PORT}" in line):
            mine.append(process)
    for process in mine:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(mine, timeout=10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100, help="iterations from one kill to the next")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cut", action="store_true", help="cut a host off half-way; needs to be root, on Linux")
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="rl2-rig-") as name:
        folder = Path(name)
        ray: dict[str, Any] = {"engine": "ray", "workers": arguments.workers}
        every, act = arguments.every, lambda: kill_one(dice)
        if arguments.cut:
            ray |= {"address": f"{NEAR}:{PORT}", "workers": 2}
            every, act = arguments.iterations // 2, cut_off
        watcher = Watcher(every, act)
        settings = spec(arguments.iterations, arguments.seed, **ray)
        if arguments.cut:
            with two_hosts(folder / "ray"):
                failing = train(folder / "failing", settings, watcher)
        else:
            failing = train(folder / "failing", settings, watcher)
        local = train(folder / "local", spec(arguments.iterations, arguments.seed), Watcher(0, None))
        shutil.rmtree(folder / "local")
    same, lost = failing == local, watcher.lost
    memory = watcher.memory
    print(f"| {'host cut off' if arguments.cut else 'workers killed'} | {len(watcher.done)} |")
    print(f"| digest | {'equal' if same else 'DIFFERENT'} |")
    print(f"| seconds lost by each | {', '.join(f'{each:.1f}' for each in lost)} |")
    print(f"| learner's memory, MB: after a tenth, at the end | {memory[len(memory) // 10]:.0f}, {memory[-1]:.0f} |")
    if not same or not watcher.done:
        print(f"failed with --seed {arguments.seed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
