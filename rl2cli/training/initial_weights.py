"""`[init]`: a new run starts with the weights and normaliser statistics of another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.algorithms.normalization import ObservationNormalizer, RunningMoments
from rl2cli.errors import RL2Error, UsageError
from rl2cli.networks.base import BaseNetwork
from rl2cli.spec.model import InitSpec
from rl2cli.training.checkpoint import Checkpoint, CheckpointStore
from rl2cli.training.run_folder import find_run

MOST_NAMES = 6
"""Tensors that are named in a sentence; of more, how many there are."""
_OWN_PLACE = "init.from"


@dataclass(frozen=True)
class Start:
    """Where first weights came from."""

    spec: InitSpec
    """With the run's absolute path and the checkpoint's frame number, so that it can be repeated."""
    sentence: str
    warnings: tuple[str, ...] = ()


def start_from(init: InitSpec, algorithm: BaseAlgorithm) -> Start:
    """Give `algorithm` the weights and normaliser statistics of the run that `init` names, as far as they fit.

    Optimisers, counters and what was replayed are not taken over.

    Raises:
        UsageError: There is no such run or checkpoint, or nothing of it fits.
        NoCheckpointError: No checkpoint of it can be loaded.
    """
    try:
        run, checkpoint = _load(init)
    except RL2Error as error:
        error.message, error.place = f"{error.message} ({error.place or init.from_})", _OWN_PLACE
        raise
    taken, misfits = take_over(algorithm, checkpoint.state["algorithm"])
    if not taken:
        raise UsageError(
            f"nothing of that run fits: {_names(misfits)}",
            hint="its algorithm, networks and spaces have to be like this run's",
            place=_OWN_PLACE,
        )
    sentence = f"starts from {run} at {checkpoint.frames:,} frames: {len(taken)} of {len(taken) + len(misfits)} tensors"
    rest = (f"not taken over from that run: {_names(misfits)}",) if misfits else ()
    explicit = InitSpec.model_validate({"from": str(run), "checkpoint": checkpoint.frames})
    return Start(explicit, sentence, (*checkpoint.notes, *rest))


def take_over(algorithm: BaseAlgorithm, saved: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """Copy the tensors of `saved` that `algorithm` has too; return the names of these, and of its others with why.

    The statistics of one normaliser are taken together or not at all.
    """
    own = algorithm.state_dict()
    taken, misfits = [], []
    with torch.no_grad():
        for group in _groups(algorithm):
            reasons = [why for name in group if (why := _misfit(name, own[name], saved.get(name)))]
            misfits += reasons
            if reasons:
                continue
            for name in group:
                own[name].copy_(torch.as_tensor(saved[name]))
            taken += group
    return taken, misfits


def _groups(algorithm: BaseAlgorithm) -> Iterator[list[str]]:
    """Yield the names of what a policy is made of: each parameter, each buffer of a network, each normaliser's."""
    in_state = set(algorithm.state_dict())
    yield from ([name] for name, _ in algorithm.named_parameters() if name in in_state)
    seen: set[str] = set()
    for prefix, module in algorithm.named_modules():
        buffers = [f"{prefix}.{name}" for name, _ in module.named_buffers()]
        new = [name for name in buffers if name in in_state and name not in seen]
        if new and isinstance(module, (BaseNetwork, ObservationNormalizer, RunningMoments)):
            seen.update(new)
            yield new


def _misfit(name: str, own: torch.Tensor, saved: object) -> str | None:
    """Return why a tensor cannot be taken over, or None."""
    if not isinstance(saved, torch.Tensor):
        return f"{name} (not in that run)"
    if saved.shape != own.shape:
        return f"{name} ({_size(saved)} there, {_size(own)} here)"
    return None


def _size(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "1"


def _names(misfits: list[str]) -> str:
    more = len(misfits) - MOST_NAMES
    return ", ".join(misfits[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _load(init: InitSpec) -> tuple[Path, Checkpoint]:
    """Return the run's absolute path and the checkpoint that is meant."""
    found = find_run(init.from_)
    which = init.checkpoint
    if found.checkpoint is not None:
        if which != "best" and which != found.checkpoint:
            raise UsageError("a checkpoint's folder and `checkpoint` both name a checkpoint", hint="give one of them")
        which = found.checkpoint
    store = CheckpointStore(found.path / "checkpoints", read_only=True)
    try:
        if which == "best":
            checkpoint = store.best(segments=False)
        else:
            checkpoint = store.newest(segments=False) if which == "last" else store.at(which, segments=False)
    finally:
        store.close()
    return found.path.resolve(), checkpoint
