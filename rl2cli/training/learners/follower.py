"""What every learner but the first does: it learns from what the first one collects, and leaves the rest to it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.envs import make_env_adapter
from rl2cli.errors import NonFiniteError, PluginError
from rl2cli.segment import Segment
from rl2cli.spec import spec_from_dict
from rl2cli.spec.model import RunSpec
from rl2cli.training.allocator import keep_freed_memory
from rl2cli.training.build import build_algorithm, plugin_classes, require_device, share_gradients
from rl2cli.training.learners.group import Learners
from rl2cli.training.learners.leader import BEGIN, END, ROLLOUT, STATE
from rl2cli.training.learners.link import end_without_torch, ending_where_cut_off
from rl2cli.training.learners.place import Place
from rl2cli.training.learners.presence import LearnerLostError
from rl2cli.training.learners.shares import require_gpus, share
from rl2cli.training.machine_facts import plugin_facts
from rl2cli.training.precision import is_large
from rl2cli.training.signals import ECHO_SECONDS, SIGNALS
from rl2cli.training.state_tree import unflatten


def follow(place: Place) -> int:
    """Learn as the first learner says until it ends; return the exit code. It shows and writes nothing.

    Raises:
        RL2Error: Something cannot be built here, or the first learner is gone; what that one says itself is not said
            again.
    """
    learners = Learners(place)
    with _signals_left_to_the_first(learners), ending_where_cut_off(learners):
        try:
            learners.join()
            _follow(learners)
        except LearnerLostError as lost:
            if not learners.close(lost.message):
                end_without_torch(lost.exit_code)
            if 0 in lost.ranks and place.rank == min(set(range(1, place.learners)) - set(lost.ranks)):
                raise  # for all that are left
            return lost.exit_code
        except BaseException as error:
            learners.close(str(error) or type(error).__name__)
            raise
        learners.close()
    return 0


def _follow(learners: Learners) -> None:
    said, _ = learners.receive()
    if said["kind"] != BEGIN:  # the first learner could not even begin
        return
    spec = spec_from_dict(said["spec"])
    _require_equal_plugins(said["plugins"], spec)
    device = _own_device(spec, learners.place)
    algorithm = _build(spec, device, learners)
    learners.open(device)
    while said["kind"] != END:
        said, tensors = learners.receive()
        if said["kind"] == STATE:
            _take_state(algorithm, learners, unflatten(tensors, said["tree"]), said["segments"])
        elif said["kind"] == ROLLOUT:
            with suppress(NonFiniteError):  # the first learner has found the same, and ends the run
                algorithm.update(unflatten(tensors, said["tree"]), said["frames"])


def _require_equal_plugins(of_the_first: list[dict[str, Any]], spec: RunSpec) -> None:
    """Check that the classes behind the names in a spec are those that the first learner has.

    Raises:
        PluginError: One is not there, or its file is another.
    """
    for plugin, theirs in zip(plugin_classes(spec), of_the_first, strict=True):
        if plugin_facts(plugin) != theirs:
            raise PluginError(
                f"{theirs['module']}:{theirs['class']} is another here than the first learner has",
                hint="install or copy the same plugins everywhere",
            )


def _own_device(spec: RunSpec, place: Place) -> torch.device:
    """Return the device of this learner: of several GPUs, each has its own.

    Raises:
        UsageError: There are fewer than learners.
    """
    device = torch.device(spec.device)
    require_device(device)
    if device.type == "cuda":
        require_gpus(place, device)
        torch.cuda.set_device(place.local_rank)
    return device


def _build(spec: RunSpec, device: torch.device, learners: Learners) -> BaseAlgorithm:
    torch.set_num_threads(int(spec.threads))
    env = make_env_adapter(spec.env, num_envs=1, device=device, workers=0)  # for its spaces alone
    try:
        algorithm = build_algorithm(spec, env, device)
    finally:
        env.close()
    if device.type == "cpu" and is_large(algorithm):
        keep_freed_memory()
    share_gradients(algorithm, share(spec.scale, algorithm, learners)[0])
    return algorithm


def _take_state(algorithm: BaseAlgorithm, learners: Learners, state: dict[str, Any], num_segments: int) -> None:
    """Go on from the first learner's state; the segments of its replay follow, each when it is asked for."""
    algorithm.load_state_dict(state["algorithm"])
    segments = [Segment(sha256=str(index), read=lambda: learners.receive()[1]) for index in range(num_segments)]
    algorithm.load_segments(segments)
    with suppress(RuntimeError):  # of another kind of device: they start anew, as the first learner's do
        for name, generator in algorithm.generators.items():
            generator.set_state(state["generators"][name].clone())  # of a view, torch reads past the end


@contextmanager
def _signals_left_to_the_first(learners: Learners) -> Iterator[None]:
    """Once all are connected, ignore a first signal: the first learner gets it too, saves, and ends the others."""
    first: list[float] = []

    def receive(number: int, frame: object) -> None:
        del frame
        first.append(time.monotonic())
        learners.hurry()
        if first[-1] - first[0] > ECHO_SECONDS or not learners.is_open:
            os._exit(128 + number)

    before = {number: signal.signal(number, receive) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
