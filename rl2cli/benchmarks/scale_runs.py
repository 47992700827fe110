"""Runs whose environments are stepped in shards, each in a process of its own, and how fast they go once they go."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl2cli.benchmarks.processes import MeasurementError, run_command

WAITING = "waiting"
"""Backend whose steps take as long as they are told; see `rl2cli.benchmarks.waiting`."""
SHARDS = 8
"""Of one environment each: what 1, 2 and 4 workers share evenly."""
ROLLOUT_LENGTH = 32
WARM_UP = 3
"""Iterations until every worker has joined and has its part of the shards; they are not counted."""
LIMIT = 300.0
"""Seconds that one run may take."""


@dataclass(frozen=True)
class Workload:
    """What is trained: PPO with a small network on environments of one kind."""

    env: dict[str, Any] = field(default_factory=lambda: {"backend": WAITING})
    """`[env]` without the number of environments."""
    shards: int = SHARDS
    envs_per_shard: int = 1
    rollout_length: int = ROLLOUT_LENGTH

    @property
    def frames(self) -> int:
        """Frames of an iteration."""
        return self.shards * self.envs_per_shard * self.rollout_length

    def spec(self, engine: str, iterations: int, workers: int = 1, lag: int = 0) -> dict[str, Any]:
        """Return the run spec of so many iterations, evaluated and saved at the end only."""
        total = self.frames * iterations
        return {
            "name": "scale",
            "total_frames": total,
            "device": "cpu",
            "threads": 1,
            "compile": False,
            "overlap": False,
            "env": {"num_envs": self.shards * self.envs_per_shard, **self.env},
            "network": {"hidden_sizes": [64, 64]},
            "algorithm": {"rollout_length": self.rollout_length, "minibatch_size": self.frames // 4, "epochs": 4},
            "evaluation": {"every": total, "episodes": 1, "stochastic_episodes": 0},
            "checkpoint": {"every": total},
            "logging": {"tensorboard": False},
            "scale": {"engine": engine, "workers": workers, "envs_per_worker": self.envs_per_shard, "lag": lag},
        }


@dataclass(frozen=True)
class Pace:
    """How fast a run went."""

    frames_per_second: float
    """Median over the iterations that count."""
    start_seconds: float
    """From the start of training to the end of the first iteration, Ray's own start among them."""
    iteration_seconds: list[float]
    """Of those that count."""


def pace_of(workload: Workload, engine: str, iterations: int, workers: int = 1, lag: int = 0) -> Pace:
    """Train for `iterations` that count, in a process of its own, and return how fast it was.

    Raises:
        MeasurementError: The run failed.
    """
    spec = workload.spec(engine, WARM_UP + iterations, workers, lag)
    found = json.loads(run_command([sys.executable, "-m", __name__, json.dumps(spec)], limit=LIMIT).stdout)
    ends: list[float] = found["ends"]
    if len(ends) != WARM_UP + iterations:
        raise MeasurementError(
            f"the run made {len(ends)} iterations of {WARM_UP + iterations}",
            hint="did something stop it? Measure again",
        )
    seconds = [later - earlier for earlier, later in zip(ends[WARM_UP - 1 :], ends[WARM_UP:], strict=False)]
    middle = sorted(seconds)[len(seconds) // 2]
    return Pace(workload.frames / middle, ends[0], seconds)


def main(spec: str) -> None:
    """Train what `spec` says, a run spec as JSON, and print as JSON when each iteration ended."""
    from rl2cli.benchmarks.waiting import register
    from rl2cli.reporting.plain import QuietView
    from rl2cli.reporting.progress import Progress
    from rl2cli.spec import load_spec_dict
    from rl2cli.training import session

    class Stopwatch(QuietView):
        """Takes down when iterations end, in seconds since it was made."""

        def __init__(self) -> None:
            super().__init__(sys.stderr)
            self.began, self.ends = time.perf_counter(), list[float]()

        def due(self) -> bool:
            """Return True: every iteration counts."""
            return True

        def update(self, progress: Progress) -> None:
            """Take down the end of an iteration; the end of the run is shown once more."""
            if progress.iteration > len(self.ends):
                self.ends.append(time.perf_counter() - self.began)

    register()
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix="rl2-bench-") as folder:
        session.train(load_spec_dict(json.loads(spec)), view=watch, run_dir=Path(folder) / "run")
    print(json.dumps({"ends": watch.ends}))


if __name__ == "__main__":
    main(sys.argv[1])
