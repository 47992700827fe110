"""A run folder made of files alone, as good or bad as a test wants it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SETTINGS = """\
name = {name}
seed = {seed}
total_frames = 3000

[env]
id = "CartPole-v1"

[network]
name = "mlp"

[algorithm]
name = "ppo"
learning_rate = {learning_rate}
"""


def make_run(
    path: Path,
    *,
    seed: int = 1,
    name: str = "small",
    learning_rate: float = 3e-4,
    returns: Iterable[object] = (10.0, 20.0, 30.0),
    rows: Iterable[Mapping[str, Any]] = (),
    status: str | None = "finished",
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Make the folder of a run that was evaluated every 1,000 frames, which took it 10 s each."""
    path.mkdir(parents=True)
    settings = SETTINGS.format(name=json.dumps(name), seed=seed, learning_rate=learning_rate)
    (path / "resolved.toml").write_text(settings, encoding="utf-8")
    (path / "spec.toml").write_text(settings, encoding="utf-8")
    (path / "run.json").write_text(json.dumps({"started": "2026-01-02T03:04:05+00:00", **(facts or {})}))
    metrics = [{"frames": 500, "rollout/return_mean": 5.0, "loss/policy": 0.1}, *rows]
    timings: list[dict[str, Any]] = [{"event": "start", "time": 1000.0, "frames": 0}]
    for index, value in enumerate(returns, 1):
        interval = {"evaluation/interval": 1.0, "evaluation/std_return": 2.0, "evaluation/episodes": 20}
        metrics.append({"frames": 1000 * index, "evaluation/mean_return": value, **interval})
        timings.append({"event": "evaluation", "time": 1000.0 + 10 * index, "frames": 1000 * index})
    write_rows(path / "metrics.jsonl", metrics)
    write_rows(path / "timings.jsonl", timings)
    if status is not None:
        best = {"frames": 3000, "mean_return": 30.0}
        summary = {"status": status, "frames": 3000, "total_frames": 3000, "frames_per_second": 100.0, "best": best}
        (path / "summary.json").write_text(json.dumps(summary))
    return path


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON lines file."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
