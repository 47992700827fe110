"""Whether a run updates with compiled code: what is kept in the user's cache, and when building it pays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import platformdirs

from rl2cli.algorithms.adam import FlatAdam
from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.algorithms.compiled import CompilationError, CompiledStep, find_compiler
from rl2cli.spec.model import RunSpec

SAVED_PART = 0.5
"""Part of an eager step's time, products of matrices aside, that compiled code saves (measured: 0.53 to 0.85)."""
WORTH_SECONDS = 120.0
"""Saving from which `auto` builds: twice what a slow machine takes for it."""
FEWEST_CALLS = 20_000
"""Steps below which no usual network's run can save that; nothing is timed then."""

TOO_SHORT = "short run; compile = true builds faster code once"


def cache_folder() -> Path:
    """Return where compiled code is kept: machine code of this user's own making, never part of a run folder."""
    return platformdirs.user_cache_path("rl2", appauthor=False) / "compiled"


def choose_compilation(
    spec: RunSpec, algorithm: BaseAlgorithm, announce: Callable[[str], None] | None
) -> tuple[bool, str | None]:
    """Return whether the algorithm updates with compiled code from now on, and a sentence about it.

    Whatever prevents it leaves the update eager.

    Args:
        spec: The run; its `compile` decides.
        algorithm: Built, on its device, with torch's final number of threads.
        announce: Told before a minute of compiling; None where nothing is to be built, as for a dry run.
    """
    if spec.compile is False or algorithm.task.device.type != "cpu":
        return False, None
    if any(isinstance(module, FlatAdam) and module.shards is not None for module in algorithm.modules()):
        return False, "update eager: its gradients are made of shards"
    try:
        step = algorithm.make_compiled_step()
        if step is None:
            return False, None
        return _load_or_build(step, spec, announce)
    except CompilationError as error:
        return False, f"update eager: {error}"


def _load_or_build(step: CompiledStep, spec: RunSpec, announce: Callable[[str], None] | None) -> tuple[bool, str]:
    folder = cache_folder()
    if step.is_kept(folder):
        step.load(folder)
        return True, "update compiled: the code was in the cache"
    if spec.compile == "auto" and not _pays(step):
        return False, f"update eager: {TOO_SHORT}"
    if announce is None:
        return False, "update eager here: a run compiles it first"
    find_compiler()
    announce("compiling the update: a minute, once; later runs of these sizes and options load it")
    step.build(folder)
    step.load(folder)
    return True, "update compiled: built now and kept in the cache"


def _pays(step: CompiledStep) -> bool:
    if step.calls < FEWEST_CALLS:
        return False
    overhead = step.eager_seconds() - step.arithmetic_seconds()
    return step.calls * overhead * SAVED_PART > WORTH_SECONDS
