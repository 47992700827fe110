"""What the parts of a sharded run cost, and how large it is: what `scale_model` computes with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Costs:
    """Seconds and bytes; measured by `rl2 bench scale`, or assumed."""

    step_seconds: float
    """A step of one environment."""
    act_seconds: float = 0.0
    """An action for all environments of a shard."""
    task_seconds: float = 0.0
    """What a worker does for a task besides."""
    restore_steps: float = 0.0
    """Steps of each environment that are replayed where a shard moves to another worker."""
    learn_seconds: float = 0.0
    """The learner's work for a frame: taking it in, and its part of the update."""
    publish_seconds: float = 0.0
    """The learner's work to make new weights known."""
    submit_seconds: float = 0.0
    """The learner's work to give a task to a worker."""
    answer_seconds: float = 0.0
    """The learner's work to take an answer in, besides its frames."""
    trip_seconds: float = 0.0
    """From the learner to a worker and back, when nobody works and nothing is large."""
    frame_bytes: float = 0.0
    """What of a frame goes to the learner."""
    state_bytes: float = 0.0
    """State of a shard, which comes back with every answer and goes to a worker where a shard moves."""
    weight_bytes: float = 0.0
    """What of the weights goes to each host, once per update."""
    bytes_per_second: float = 1e15
    """What the learner's host can send, and at the same time receive."""

    @classmethod
    def of(cls, table: dict[str, Any]) -> Costs:
        """Return what `table` says, whose other keys are left alone."""
        return cls(**{each.name: float(table[each.name]) for each in fields(cls) if each.name in table})

    def table(self) -> dict[str, float]:
        """Return all of it by name."""
        return asdict(self)


@dataclass(frozen=True)
class Size:
    """How large a run is, and how its machines fail."""

    workers: int
    shards_per_worker: int = 1
    envs_per_shard: int = 1
    rollout_length: int = 128
    lag: int = 0
    workers_per_host: int = 64
    detect_seconds: float = 12.0
    """Until a host that is lost counts as lost; `scale.lost_after`, where it falls silent."""
    replace_seconds: float = 60.0
    """From then until its workers are there again."""
    host_failures: float = 0.0
    """Of one host, in a second, on average."""

    @property
    def shards(self) -> int:
        """Number of shards."""
        return self.workers * self.shards_per_worker

    @property
    def hosts(self) -> int:
        """Number of hosts."""
        return -(-self.workers // self.workers_per_host)

    @property
    def task_frames(self) -> int:
        """Frames of a task."""
        return self.envs_per_shard * self.rollout_length

    @property
    def frames(self) -> int:
        """Frames of an iteration."""
        return self.shards * self.task_frames
