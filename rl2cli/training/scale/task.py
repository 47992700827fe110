"""What goes to a worker and comes back: names, numbers, tensors and text, whatever carries them.

A *shard* is a fixed group of a run's environments with their seeds and the generator that samples their actions. It
belongs to no worker: its state travels with the task to step it through one rollout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rl2cli import errors
from rl2cli.errors import RL2Error
from rl2cli.spec.model import RunSpec, default_shard

if TYPE_CHECKING:
    import torch  # `rl2 bench` plans with tasks that have no tensors

State = dict[str, Any]
"""Of a shard: `environments`, `next_is_init`, `explore`, `exploration`; or `seeds` [E], with which it begins."""


@dataclass(frozen=True)
class Layout:
    """Which environments are in which shard."""

    num_envs: int
    envs_per_shard: int

    @property
    def shards(self) -> int:
        """Number of shards."""
        return self.num_envs // self.envs_per_shard

    def rows(self, shard: int) -> slice:
        """Return the environments of a shard."""
        return slice(shard * self.envs_per_shard, (shard + 1) * self.envs_per_shard)


def layout_of(spec: RunSpec) -> Layout:
    """Return the shards of a run with a `[scale]`."""
    assert spec.scale is not None
    num_envs = spec.env.num_envs
    return Layout(num_envs, spec.scale.envs_per_worker or default_shard(num_envs))


def numbered(tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors by their place, as a state has them."""
    return {str(place): tensor for place, tensor in enumerate(tensors)}


def in_order(tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return what `numbered` was given."""
    return [tensors[str(place)] for place in range(len(tensors))]


@dataclass(frozen=True)
class Weights:
    """What acts, as it was after so many updates."""

    version: int
    """Updates made before."""
    frames: int
    """Frames that the algorithm knew of."""
    tensors: list[torch.Tensor]
    """The algorithm's `acting_tensors`, on the CPU."""


@dataclass(frozen=True)
class Task:
    """Step a shard through the rollout of an iteration."""

    number: int
    """Of this attempt; no two attempts share one, so that late answers are known as such."""
    shard: int
    iteration: int
    version: int
    """Of the weights that act."""
    state: State | None
    """The shard's at the beginning of the rollout; None where the worker still has the shard as it left it."""


@dataclass(frozen=True)
class Failure:
    """An error on its way to the learner."""

    kind: str
    """Name of its class in `rl2cli.errors`, or of another class."""
    message: str
    hint: str | None = None
    place: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return what can be told of `error`."""
        if isinstance(error, RL2Error):
            return cls(type(error).__name__, error.message, error.hint, error.place)
        return cls(type(error).__name__, f"{type(error).__name__}: {error}")

    def rebuilt(self, where: str) -> RL2Error:
        """Return it as the error it was, with `where` it was raised."""
        kind = getattr(errors, self.kind, RL2Error)
        known = isinstance(kind, type) and issubclass(kind, RL2Error)
        try:
            return (kind if known else RL2Error)(f"{where}: {self.message}", hint=self.hint, place=self.place)
        except TypeError:  # of an error that takes more
            return RL2Error(f"{where}: {self.message}", hint=self.hint, place=self.place)


@dataclass(frozen=True)
class Outcome:
    """What came of a task."""

    number: int
    shard: int
    iteration: int
    columns: dict[str, Any] | None = None
    """See `Rollout.columns`; None where there is a problem."""
    state: State | None = None
    """The shard's after the rollout."""
    environment_seconds: float = 0.0
    policy_seconds: float = 0.0
    step_seconds: float = 0.0
    """What one step of one environment took."""
    incidents: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    """What the backend reports itself."""
    not_restored: str | None = None
    """Why the shard could not go on from the state that it was given."""
    is_unknown: bool = False
    """The worker does not have the shard as the task takes for granted."""
    failure: Failure | None = None

    @property
    def seconds(self) -> float:
        """What the rollout took."""
        return self.environment_seconds + self.policy_seconds
