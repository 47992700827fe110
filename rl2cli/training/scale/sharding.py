"""The parts of a sharded run: which shards, what they are like, and who steps them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.spec.model import RunSpec, ScaleSpec
from rl2cli.training.clock import Clock
from rl2cli.training.scale.collector import ShardedCollector
from rl2cli.training.scale.declared import DeclaredEnvironments
from rl2cli.training.scale.engine import Engine
from rl2cli.training.scale.local import LocalEngine
from rl2cli.training.scale.task import Layout, layout_of


@dataclass
class Sharding:
    """How a run's environments are split, and who steps them.

    `spec` has every automatic choice made, and `env` declares the environments.
    """

    spec: RunSpec
    env: DeclaredEnvironments
    engine: Engine | None = None
    """None until the workers are started."""

    @property
    def scale(self) -> ScaleSpec:
        """The run's `[scale]`."""
        assert self.spec.scale is not None
        return self.spec.scale

    @property
    def layout(self) -> Layout:
        """The shards."""
        return layout_of(self.spec)

    def start(self, announce: Callable[[str], None]) -> None:
        """Start the workers.

        Raises:
            MissingDependencyError: The engine is not installed.
            UsageError: There is no such cluster, or it cannot be used; the hint says what would be right.
        """
        if self.scale.engine == "local":
            self.engine = LocalEngine(self.spec, self.layout)
            return
        from rl2cli.training.scale.ray_engine import RayEngine  # Ray is imported where it is used

        self.engine = RayEngine.start(self.spec, self.layout, announce)

    def make_collector(
        self, algorithm: BaseAlgorithm, clock: Clock, tell: Callable[[str, int], None] = lambda text, worker: None
    ) -> ShardedCollector:
        """Return what collects; where no workers were started, as for a trial, this process steps."""
        self.engine = self.engine or LocalEngine(self.spec, self.layout)
        scale = self.scale
        return ShardedCollector(algorithm, self.env, clock, self.engine, self.layout, scale.lag, self.spec.seed, tell)

    def close(self) -> None:
        """End the workers."""
        if self.engine is not None:
            self.engine.close()

    @property
    def sentence(self) -> str:
        """Who steps what, in words."""
        layout = self.layout
        each = f"{layout.envs_per_shard} environment{'s' if layout.envs_per_shard > 1 else ''}"
        who = "this process" if self.scale.engine == "local" else f"{self.scale.workers} workers of Ray"
        shards = "1 shard" if layout.shards == 1 else f"{layout.shards} shards"
        return f"{shards} of {each}, stepped by {who}"
