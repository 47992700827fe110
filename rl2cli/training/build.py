"""From a run spec to the parts of a run: the only place that sees both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rl2cli.algorithms.adam import FlatAdam
from rl2cli.algorithms.base import BaseAlgorithm, Task
from rl2cli.algorithms.gradient_shards import GradientShards
from rl2cli.cores import available_cores
from rl2cli.envs import make_env_adapter
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.rendering import prepare_drawing
from rl2cli.errors import UsageError
from rl2cli.networks.base import BaseNetwork
from rl2cli.networks.part import PartOf
from rl2cli.registry import adapters, algorithms, networks
from rl2cli.spec.model import NetworkSpec, RunSpec
from rl2cli.training.allocator import keep_freed_memory
from rl2cli.training.compilation import choose_compilation
from rl2cli.training.evaluation import Evaluator
from rl2cli.training.initial_weights import Start, start_from
from rl2cli.training.learners.group import Learners
from rl2cli.training.learners.shares import require_gpus, share
from rl2cli.training.precision import choose_precision, is_large, set_precision
from rl2cli.training.room import require_room
from rl2cli.training.seeding import derive_seed, make_generator

if TYPE_CHECKING:
    from gymnasium import spaces

    from rl2cli.training.clock import Clock
    from rl2cli.training.collector import Collector
    from rl2cli.training.scale.collector import ShardedCollector
    from rl2cli.training.scale.sharding import Sharding


CORES_FOR_BOTH = 4
"""Cores from which collecting and learning at the same time pay without a GPU."""


@dataclass(frozen=True)
class Plan:
    """A run spec whose automatic choices are made."""

    spec: RunSpec
    """With `device`, `threads`, `precision`, `compile`, `overlap` and `env.workers` explicit."""
    choices: tuple[str, ...] = ()
    """Each automatic choice as a sentence."""


@dataclass
class Parts:
    """What a Trainer is made of, besides where it writes."""

    plan: Plan
    algorithm: BaseAlgorithm
    env: BaseEnvAdapter
    evaluator: Evaluator
    classes: tuple[type, ...] = field(default_factory=tuple)
    """The plugin classes in use, for the record."""
    actor: BaseAlgorithm | None = None
    """Collects while `algorithm` learns; None where they take turns."""
    sharding: Sharding | None = None
    """Who steps the environments where that is not `env`."""
    start: Start | None = None
    """Where the first weights came from, where that is another run."""
    learners: Learners | None = None
    """All that learn together; None where this process learns alone."""

    def start_from_another(self) -> None:
        """Take first weights over from the run that `[init]` names; of a new run only, before it is trained.

        Raises:
            UsageError: There is no such run, or nothing of it fits.
            NoCheckpointError: No checkpoint of it can be loaded.
        """
        spec = self.plan.spec
        if spec.init is None:
            return
        self.start = start_from(spec.init, self.algorithm)
        explicit = spec.model_copy(update={"init": self.start.spec})
        self.plan = Plan(explicit, (*self.plan.choices, self.start.sentence))

    def close(self) -> None:
        """Close every environment, and end who steps them."""
        if self.sharding is not None:
            self.sharding.close()
        self.env.close()
        self.evaluator.close()

    def make_collector(self, clock: Clock) -> Collector | ShardedCollector:
        """Return what collects for a trial, in turn with learning."""
        from rl2cli.training.collector import Collector

        if self.sharding is not None:
            return self.sharding.make_collector(self.algorithm, clock)
        return Collector(self.algorithm, self.env, clock)

    def acting(self) -> tuple[BaseAlgorithm, BaseEnvAdapter]:
        """Return an algorithm that acts, and the environments that it acts in together: all, or those of a shard."""
        if self.sharding is None:
            return self.algorithm, self.env
        shard, spec = self.sharding.env.shard, self.plan.spec
        env = spec.env.model_copy(update={"num_envs": shard.num_envs})
        return build_algorithm(spec.model_copy(update={"env": env}), shard, torch.device("cpu")), shard


def build(
    spec: RunSpec,
    announce: Callable[[str], None] | None = None,
    checkpoints: Path = Path("outputs"),
    total_frames: int | None = None,
    learners: Learners | None = None,
) -> Parts:
    """Build environment, networks and algorithm, making every automatic choice on the way.

    Args:
        spec: The run.
        announce: Told before something that takes long, compiling; None where nothing is compiled, for a dry run.
        checkpoints: Where the run's checkpoints lie, or a folder above it where that is not there yet.
        total_frames: Frames it goes on to where that was changed on resume; its schedules keep those of the spec.
        learners: Those that learn together, of which this is the first; None where this process learns alone.

    Raises:
        UsageError: The parts do not fit together, or on this machine; the message says which.
        MissingDependencyError: A backend is not installed.
    """
    torch.set_num_threads(1)  # until the size of the networks is known: two threads initialise small ones far slower
    if spec.video is not None:
        prepare_drawing()  # before a backend is imported
    plan = plan_environments(spec)
    device, choice = choose_device(plan.spec)
    if learners is not None:
        require_gpus(learners.place, device)
    env = _declared(plan.spec) if spec.is_sharded else make_env_adapter(plan.spec.env, device=device)
    try:
        algorithm = build_algorithm(plan.spec, env, device)
        shards, share_choice = share(plan.spec.scale, algorithm, learners)
        kept = require_room(plan.spec, algorithm, checkpoints, total_frames)
    except BaseException:
        env.close()
        raise
    share_gradients(algorithm, shards)
    overlap, overlap_choice = choose_overlap(plan.spec, algorithm, env)
    threads, thread_choice = choose_threads(plan.spec.model_copy(update={"overlap": overlap}), algorithm, learners)
    torch.set_num_threads(threads)
    if device.type == "cpu" and is_large(algorithm):
        keep_freed_memory()
    precision, precision_choice = choose_precision(plan.spec, algorithm)
    set_precision(algorithm, precision)
    compiled, compile_choice = choose_compilation(plan.spec, algorithm, announce)
    settled = {"device": str(device), "threads": threads, "precision": precision, "compile": compiled}
    settled["overlap"] = overlap
    explicit = plan.spec.model_copy(update=settled)
    found = (choice, thread_choice, precision_choice, compile_choice, overlap_choice, share_choice, *plan.choices, kept)
    choices = tuple(text for text in found if text)
    actor = build_algorithm(explicit, env, device) if overlap else None
    evaluator = make_evaluator(explicit, device)
    sharding = None
    if spec.is_sharded:
        sharding = _sharding(explicit, env)
        choices = (*choices, sharding.sentence)
    if is_limited(explicit) and announce is not None:
        evaluator.prepare()
    classes = plugin_classes(explicit)
    parts = Parts(Plan(explicit, choices), algorithm, env, evaluator, classes, actor, sharding, learners=learners)
    if sharding is not None and announce is not None:
        try:
            sharding.start(announce)
        except BaseException:
            parts.close()
            raise
    return parts


def share_gradients(algorithm: BaseAlgorithm, shards: GradientShards | None) -> None:
    """Have every optimiser of `algorithm` make its gradients of `shards`; as a whole where that is None."""
    for module in algorithm.modules():
        if isinstance(module, FlatAdam):
            module.shards = shards


def _declared(spec: RunSpec) -> BaseEnvAdapter:
    """Return what the environments of a sharded run are like, by those of one shard."""
    from rl2cli.training.scale.declared import DeclaredEnvironments
    from rl2cli.training.scale.task import layout_of

    shard = make_env_adapter(spec.env, num_envs=layout_of(spec).envs_per_shard, workers=0)
    return DeclaredEnvironments(shard, spec.env.num_envs)


def _sharding(spec: RunSpec, env: BaseEnvAdapter) -> Sharding:
    from rl2cli.training.scale.declared import DeclaredEnvironments
    from rl2cli.training.scale.sharding import Sharding  # a run in one process needs none of it

    assert isinstance(env, DeclaredEnvironments)
    return Sharding(spec, env)


def plan_environments(spec: RunSpec) -> Plan:
    """Make the backend's own choices, and choose the number of worker processes where it is automatic."""
    options, choices = adapters.load(spec.env.backend).settle(spec.env.options)
    env = spec.env.model_copy(update={"options": options})
    if spec.is_sharded:
        env = env.model_copy(update={"workers": 0})
    if env.workers == "auto":
        from rl2cli.envs import plan_workers

        workers = plan_workers(env)
        env = env.model_copy(update={"workers": workers})
        choices.append(f"environments step in {f'{workers} worker processes' if workers else 'this process'}")
    return Plan(spec.model_copy(update={"env": env}), tuple(choices))


def is_limited(spec: RunSpec) -> bool:
    """Return whether the backend allows a process only so many of it, so that others need processes of their own."""
    return adapters.load(spec.env.backend).instances_per_process is not None


def choose_device(spec: RunSpec) -> tuple[torch.device, str | None]:
    """Return the device and, where it was automatic, a sentence about it.

    Raises:
        UsageError: The device that was asked for is not there.
    """
    if spec.device != "auto":
        device = torch.device(spec.device)
        require_device(device)
        return device, None
    if torch.cuda.is_available() and spec.network.name != "mlp":
        return torch.device("cuda"), f"device cuda: {torch.cuda.get_device_name()}"
    reason = "a small network is faster there" if torch.cuda.is_available() else "no CUDA device found"
    return torch.device("cpu"), f"device cpu: {reason}"


def require_device(device: torch.device) -> None:
    """Check that `device` can be used.

    Raises:
        UsageError: It cannot; the hint says why.
    """
    if device.type == "cuda" and not torch.cuda.is_available():
        why = "this build of torch has no CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        raise UsageError(f"device {str(device)!r} is not there: {why}", hint='device = "cpu" or "auto" works here')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device {str(device)!r} is not there", hint=f"there are {torch.cuda.device_count()} CUDA devices"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device 'mps' is not there: it needs an Apple GPU", hint='device = "cpu" or "auto" works here')


def on_this_machine(spec: RunSpec) -> tuple[RunSpec, list[str]]:
    """Return the spec of a run from elsewhere with a device that is there, and in words what that changed."""
    try:
        choose_device(spec)
    except UsageError as error:
        return spec.model_copy(update={"device": "auto"}), [f"{error.message}; the run goes on on another device"]
    return spec, []


def choose_threads(spec: RunSpec, algorithm: BaseAlgorithm, learners: Learners | None = None) -> tuple[int, str | None]:
    """Return torch's thread count and, where it was automatic, a sentence about it; `overlap` has to be settled.

    It decides bits, so where these do not depend on the number of learners it does not either.
    """
    if spec.threads != "auto":
        return spec.threads, None
    if not is_large(algorithm):
        return 1, "1 thread: the network is small"
    cores = available_cores()
    if spec.scale is not None:
        most = 1 if learners is None else learners.place.local_learners
        each = max(1, cores // (spec.scale.gradient_shards if spec.scale.deterministic else most))
        return each, f"{_threads(each)}: the network is large, and other learners may be here"
    if spec.overlap is True and algorithm.task.device.type == "cpu" and cores > 1:
        return cores // 2, f"{_threads(cores // 2)}: the other cores step the environments"
    return cores, f"{_threads(cores)}: the network is large"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def choose_overlap(spec: RunSpec, algorithm: BaseAlgorithm, env: BaseEnvAdapter) -> tuple[bool, str | None]:
    """Return whether collecting goes on while the algorithm learns and, where there was a choice, a sentence about it.

    Raises:
        UsageError: It was asked for, and the algorithm cannot learn from a policy that is not its newest.
    """
    if spec.is_sharded:
        return False, None  # `[scale] lag` says it
    if not algorithm.can_overlap:
        if spec.overlap is True:
            raise UsageError(
                f"{spec.algorithm.name} cannot collect and learn at the same time",
                hint='overlap = false, or "auto"',
                place="overlap",
            )
        return False, None
    if spec.overlap != "auto":
        return spec.overlap, None
    if not env.steps_elsewhere:
        return False, None
    if algorithm.task.device.type == "cpu" and available_cores() < CORES_FOR_BOTH:
        return False, f"collecting and learning take turns: {available_cores()} cores are few"
    return True, "collecting goes on while learning, one update behind"


def build_algorithm(spec: RunSpec, env: BaseEnvAdapter, device: torch.device) -> BaseAlgorithm:
    """Build the networks and the algorithm for what `env` declares; first weights follow from the run's seed alone."""
    observation_space = env.observation_space
    task = Task(
        observation_space=observation_space,
        action_space=env.action_space,
        num_envs=spec.env.num_envs,
        total_frames=spec.total_frames,
        device=device,
        make_network=network_maker(spec.network, observation_space, hidden=env.critic_only),
        make_critic_network=network_maker(spec.critic_network or spec.network, observation_space),
        make_generator=lambda purpose: make_generator(spec.seed, purpose, device),
        has_action_mask=env.has_action_mask,
        frame_stack=env.frame_stack,
        lag=spec.scale.lag if spec.scale is not None and spec.is_sharded else 0,
    )
    algorithm_class = algorithms.load(spec.algorithm.name)
    assert issubclass(algorithm_class, BaseAlgorithm)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(spec.seed, "weights"))
        algorithm = algorithm_class(spec.algorithm.options, task)
    if spec.critic_network is not None and not algorithm.has_critic:
        raise UsageError(f"{spec.algorithm.name} has no critic beside its network", hint="remove [critic_network]")
    if spec.precision != "auto":
        set_precision(algorithm, spec.precision)
    return algorithm


def network_maker(
    network: NetworkSpec, observation_space: spaces.Space[object], hidden: Sequence[str] = ()
) -> Callable[[int], BaseNetwork]:
    """Return a function that builds `network`; its argument is `extra_features`. It sees no key in `hidden`."""

    def make(extra_features: int) -> BaseNetwork:
        build = networks.load(network.name)
        if hidden:
            return PartOf(build, network.options, observation_space, hidden, extra_features)
        made = build(network.options, observation_space, extra_features)
        assert isinstance(made, BaseNetwork)
        return made

    return make


def make_evaluator(spec: RunSpec, device: torch.device) -> Evaluator:
    """Return the evaluator, whose environments are separate from those of training."""
    evaluation = spec.evaluation
    stochastic = evaluation.episodes if evaluation.stochastic_episodes is None else evaluation.stochastic_episodes

    def make_env(num_envs: int) -> BaseEnvAdapter:
        return make_env_adapter(spec.env, num_envs=num_envs, device=device, workers=0, wait=False)

    return Evaluator(make_env, evaluation.episodes, stochastic, spec.seed)


def plugin_classes(spec: RunSpec) -> tuple[type, ...]:
    """Return the classes behind the names in `spec`."""
    names = {spec.network.name, *([spec.critic_network.name] if spec.critic_network else [])}
    return (
        adapters.load(spec.env.backend),
        *(networks.load(name) for name in sorted(names)),
        algorithms.load(spec.algorithm.name),
    )
