"""The run spec: what one TOML file may say. Torch-free."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny

from rl2cli.options import Misfit, Options, nearest_divisors

Frames = Annotated[int, Field(ge=1, le=2**53)]


class EnvSpec(Options):
    """`[env]`: the environment backend, how many environments, and the backend's own options."""

    backend: str = Field("gymnasium", description="Name in the adapter registry.")
    num_envs: Annotated[int, Field(ge=1, le=1_000_000)] = Field(8, description="Environments stepped together.")
    workers: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] = Field(
        "auto",
        description="Worker processes that step the environments; 0 steps them in this process; "
        "auto measures the cost of a step before the first frame.",
    )
    timeout: Annotated[float, Field(gt=0.0, le=1e6)] = Field(
        300.0, description="Seconds that one environment may take for a step or a reset before it counts as hung."
    )
    max_restarts: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        3,
        description="Worker processes that are started anew where one dies or hangs; their episodes are cut, and the "
        "run is not exact any more.",
    )
    options: SerializeAsAny[Options] = Field(default_factory=Options, exclude=True)


class NetworkSpec(Options):
    """`[network]` and `[critic_network]`: a network architecture and its own options."""

    name: str = Field("mlp", description="Name in the network registry.")
    options: SerializeAsAny[Options] = Field(default_factory=Options, exclude=True)


class AlgorithmSpec(Options):
    """`[algorithm]`: a learning algorithm and its own options."""

    name: str = Field("ppo", description="Name in the algorithm registry.")
    options: SerializeAsAny[Options] = Field(default_factory=Options, exclude=True)


class EvaluationSpec(Options):
    """`[evaluation]`: how often the policy is measured on environments of its own."""

    every: Frames | None = Field(
        None, description="Frames between evaluations, rounded up to the end of an iteration; a twentieth of the run."
    )
    episodes: Annotated[int, Field(ge=1, le=100_000)] = Field(10, description="Deterministic episodes per evaluation.")
    stochastic_episodes: Annotated[int, Field(ge=0, le=100_000)] | None = Field(
        None, description="Episodes with sampled actions per evaluation; as many as `episodes`."
    )
    target_return: float | None = Field(
        None, description="Stop as soon as the mean return of the deterministic episodes reaches this."
    )


class CheckpointSpec(Options):
    """`[checkpoint]`: how often the whole run is saved, and how many are kept."""

    every: Frames | None = Field(
        None, description="Frames between checkpoints, rounded up to the end of an iteration; a tenth of the run."
    )
    keep: Annotated[int, Field(ge=1, le=10_000)] = Field(3, description="Newest checkpoints kept, besides the best.")
    on_storage_error: Literal["continue", "stop"] = Field(
        "continue",
        description="Where the disk is full or fails: continue trains on and saves again at the next checkpoint, stop "
        "ends the run at its last one.",
    )


class VideoSpec(Options):
    """`[video]`: when the policy is filmed while it trains; without this table it is not."""

    at: list[Annotated[float, Field(ge=0.0, le=1.0)]] | None = Field(
        None,
        description="Fractions of the first `total_frames`; 1.0 is also filmed where the run reaches its target return "
        "before; `[0.0, 0.5, 1.0]` where `every` is left out too.",
    )
    every: Frames | None = Field(
        None, description="Frames between videos, rounded up to the end of an iteration; the run's end is filmed too."
    )
    max_steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1_000, description="Steps after which a video ends, if its episode has not."
    )


class LoggingSpec(Options):
    """`[logging]`: how often metrics are written, and where besides metrics.jsonl."""

    every: Frames | None = Field(
        None,
        description="Frames between lines of metrics.jsonl and points of TensorBoard's curves, rounded up to the end "
        "of an iteration; a two-thousandth of the run.",
    )
    tensorboard: bool = Field(True, description="Write TensorBoard event files, x axis in frames.")


_OF_WORKERS = ("address", "workers", "envs_per_worker", "lag", "resources", "lost_after")
_ENGINES = "write engine = 'ray' or 'local' beside it, or remove it"


class ScaleSpec(Options):
    """`[scale]`: a run on many processes or machines; without this table it is one process."""

    # --- collecting: who steps the environments ---
    engine: Literal["local", "ray"] | None = Field(
        None,
        description="What steps the environments in shards: ray is workers of Ray, `pip install 'rl2cli[ray]'`, local "
        "this process, with the same results; they are in no shards where left out.",
    )
    address: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        None,
        description="Ray cluster to use, `host:port`, or `auto` for the one that RAY_ADDRESS names or that runs here; "
        "one is started for the run where this is left out.",
    )
    workers: Annotated[int, Field(ge=1, le=100_000)] = Field(
        2, description="Worker processes of Ray; no number of the run depends on it."
    )
    envs_per_worker: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None,
        description="Environments that are stepped together, a shard; divides num_envs; an eighth of them, or the next "
        "larger part that divides.",
    )
    lag: Annotated[int, Field(ge=0, le=100)] = Field(
        0,
        description="Updates that the acting weights are behind, always: 0 takes turns, 1 collects while learning, "
        "more hides a slow network.",
    )
    resources: dict[str, Annotated[float, Field(ge=0.0, le=1e18)]] = Field(
        default_factory=lambda: {"CPU": 1.0},
        description="What a worker takes of its machine, in Ray's words: CPU, GPU, memory in bytes, or your own.",
    )
    lost_after: Annotated[float, Field(ge=1.0, le=1e6)] = Field(
        12.0, description="Seconds without a sign of life after which a worker is lost, and others do its work."
    )

    # --- learning: who computes the gradients ---
    deterministic: bool = Field(
        True,
        description="Make every gradient of `gradient_shards` parts, summed in one order, so that the bits do not "
        "depend on the number of learners; false averages one gradient of each learner.",
    )
    gradient_shards: Annotated[int, Field(ge=1, le=4096)] = Field(
        4, description="Parts of a minibatch whose gradients are computed apart; the number of learners divides it."
    )

    def misfits(self, num_envs: int, total_frames: int) -> list[Misfit]:
        """Return what does not divide, and what belongs to another engine."""
        del total_frames
        found, size = [], self.envs_per_worker
        if self.engine is None:
            defaults = ScaleSpec()
            unused = [name for name in _OF_WORKERS if getattr(self, name) != getattr(defaults, name)]
            return [Misfit(name, f"{name} is of shards, and no engine steps any", _ENGINES) for name in unused]
        if size is not None and num_envs % size:
            fits = " or ".join(map(str, nearest_divisors(num_envs, size)))
            message = f"{num_envs} environments are no whole number of shards of {size}"
            found.append(Misfit("envs_per_worker", message, f"the nearest that fit: {fits}"))
        if self.engine != "ray" and self.address is not None:
            found.append(Misfit("address", "engine = 'local' joins no cluster", "remove it, or write engine = 'ray'"))
        return found


class InitSpec(Options):
    """`[init]`: another run whose policy this one starts from."""

    from_: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        alias="from",
        description="Run whose weights and normaliser statistics this one starts with, as far as they fit.",
    )
    checkpoint: Annotated[int, Field(ge=0, le=2**53)] | Literal["best", "last"] = Field(
        "best", description="Which checkpoint of it: best, last or a number of frames."
    )


SHARDS = 8
"""Into which the environments are split where `envs_per_worker` is left out, if they can be."""


def default_shard(num_envs: int) -> int:
    """Return the environments of a shard where a spec does not say: 8 shards, or the most below that divide."""
    return num_envs // max(count for count in range(1, SHARDS + 1) if num_envs % count == 0)


class RunSpec(Options):
    """Everything a run is made from. Tables that are left out have their defaults."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = Field(
        description="Name of the run's folder: letters, digits, `.`, `_`, `-`; the file's name where left out."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(1, description="Everything random in the run follows from it.")
    total_frames: Frames = Field(description="Environment steps in all, summed over environments.")
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$")] = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps; auto takes a GPU where it pays."
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto",
        description="Threads of torch on the CPU; auto is one for small networks, and half the cores for large ones "
        "with `overlap`.",
    )
    compile: bool | Literal["auto"] = Field(
        "auto",
        description="Update with code compiled for this CPU: true builds it before the first frame (a minute, once; it "
        "is kept in the user's cache), auto uses what was built and builds where a run is long enough, false never.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="What large networks compute in; parameters, heads and losses are float32. auto measures it where "
        "the processor or GPU has units for bfloat16.",
    )
    overlap: bool | Literal["auto"] = Field(
        "auto",
        description="Step the environments while learning, with the weights of one update ago; auto does so where they "
        "step outside of Python and there are cores or a GPU for both.",
    )
    init: InitSpec | None = Field(None, description="Another run to start from; its own first weights if left out.")
    env: EnvSpec = Field(default_factory=EnvSpec)
    network: NetworkSpec = Field(default_factory=NetworkSpec)
    critic_network: NetworkSpec | None = Field(None, description="The critic's network; like `[network]` if left out.")
    algorithm: AlgorithmSpec = Field(default_factory=AlgorithmSpec)
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec)
    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec)
    video: VideoSpec | None = Field(None, description="When the policy is filmed; never where left out.")
    logging: LoggingSpec = Field(default_factory=LoggingSpec)
    scale: ScaleSpec | None = Field(
        None, description="Many processes or machines; torchrun implies it, and a run of one process has none."
    )

    @property
    def is_sharded(self) -> bool:
        """Whether the environments are stepped in shards, by the engine of `scale`."""
        return self.scale is not None and self.scale.engine is not None
