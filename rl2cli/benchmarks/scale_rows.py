"""A run on workers of Ray: what its parts cost, and whether the model of it says what it does."""

from __future__ import annotations

import importlib.util
import json
import sys

from rl2cli.benchmarks.bench import Bench, Row
from rl2cli.benchmarks.comparison import OURS, Comparison
from rl2cli.benchmarks.processes import run_command
from rl2cli.benchmarks.scale_costs import Costs, Size
from rl2cli.benchmarks.scale_runs import LIMIT, Workload, pace_of

WORKERS = (1, 2, 4)
COUNTED = 6
"""Iterations of a real run that count."""
SIMULATED = 10
"""Iterations of a simulated one; all are alike."""


def scale(bench: Bench, row: Row) -> list[Comparison]:
    """How far the model's frames/s are from those of real runs with 1, 2 and 4 workers, and the costs it works with."""
    from rl2cli.benchmarks.scale_model import simulate

    workload = Workload()
    has_ray = importlib.util.find_spec("ray") is not None
    if not has_ray:
        bench.say("Ray is not installed, so its work counts as none and no run is compared: pip install 'rl2cli[ray]'")
    costs = measured_costs(workload, with_ray=has_ray)
    known = {name: [value] for name, value in costs.table().items()}
    lines = []
    for workers in WORKERS:
        forecast = simulate(costs, size_of(workload, workers), SIMULATED).frames_per_second
        name = f"scale, {workers} worker{'s' if workers > 1 else ''}"
        bench.say(f"{name}: {forecast:,.0f} frames/s expected")
        details = {"frames/s, expected": [forecast]}
        samples: dict[str, list[float]] = {}
        if has_ray:
            paces = [pace_of(workload, "ray", COUNTED, workers).frames_per_second for _ in range(row.repeats)]
            bench.say(f"{name}: {', '.join(f'{pace:,.0f}' for pace in paces)} frames/s measured")
            samples = {OURS: [100.0 * abs(forecast / pace - 1.0) for pace in paces]}
            details["frames/s, measured"] = paces
        details = known | details if workers == WORKERS[0] else details
        lines.append(Comparison(name, row.what, row.unit, row.bar, samples, details))
    return lines


def measured_costs(workload: Workload, *, with_ray: bool) -> Costs:
    """Return what the parts of a run cost on this machine, measured in a process of its own.

    Raises:
        MeasurementError: It failed.
    """
    spec = workload.spec("ray" if with_ray else "local", 1)
    command = [sys.executable, "-m", "rl2cli.benchmarks.scale_measuring", json.dumps(spec)]
    return Costs.of(json.loads(run_command(command, limit=LIMIT).stdout))


def size_of(workload: Workload, workers: int) -> Size:
    """Return how large a real run is, all of whose workers are on one machine."""
    return Size(
        workers,
        shards_per_worker=workload.shards // workers,
        envs_per_shard=workload.envs_per_shard,
        rollout_length=workload.rollout_length,
        workers_per_host=workers,
    )
