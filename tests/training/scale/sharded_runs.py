"""Sharded runs of a second or less, and what decides whether two of them are the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import small_runs
from small_runs import differences, newest

REPLAY = {"learning_starts": 48, "batch_size": 8, "buffer_size": 1000, "rollout_length": 4}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "ppo": {},
    "ppo with one network": {"algorithm": {"share_network": True, "normalize_observation": True}},
    "sac": {"env_id": "Pendulum-v1", "algorithm": {"name": "sac", **REPLAY}},
    "sac with coloured noise": {
        "env_id": "Pendulum-v1",
        "algorithm": {"name": "sac", **REPLAY, "exploration": "coloured", "noise_steps": 16},
    },
    "dqn": {"algorithm": {"name": "dqn", **REPLAY}},
    "td3": {"env_id": "Pendulum-v1", "algorithm": {"name": "td3", **REPLAY}},
    "tqc": {"env_id": "Pendulum-v1", "algorithm": {"name": "tqc", **REPLAY, "exploration": "state_dependent"}},
}


def spec(algorithm: str = "ppo", total_frames: int = 256, scale: dict[str, Any] | None = None, **tables: Any) -> Any:
    """Return a run spec of four shards of two environments."""
    chosen = {"env_id": "CartPole-v1", **ALGORITHMS[algorithm]}
    settings = small_runs.spec(chosen["env_id"], total_frames, **{"evaluation": {"every": 256}, **tables})
    options = chosen.get("algorithm", {})
    settings["algorithm"] = options if "name" in options else settings["algorithm"] | options
    return {**settings, "scale": {"engine": "local", "envs_per_worker": 2, **(scale or {})}}


def different(one: Path, other: Path) -> list[str]:
    """Return where two runs differ in a bit: in all that training goes on from, or in their records."""

    def found() -> Iterator[str]:
        yield from differences(newest(one).state, newest(other).state)
        if (one / "metrics.jsonl").read_bytes() != (other / "metrics.jsonl").read_bytes():
            yield "metrics.jsonl"

    return list(found())
