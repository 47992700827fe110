"""What a worker elsewhere is built from, and whether it is fit for that: names, text and hashes, no code."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl2cli.errors import RL2Error
from rl2cli.plugins import lookup
from rl2cli.registry import BUILT_IN, Registry, adapters, algorithms, networks
from rl2cli.spec import spec_from_dict, spec_to_dict
from rl2cli.spec.model import RunSpec
from rl2cli.training.machine_facts import plugin_facts, versions
from rl2cli.trust import allow_import, granted

_DECISIVE = ("rl2cli", "torch", "numpy", "gymnasium", "ale-py", "mujoco", "box2d", "torchrl")
"""Libraries whose versions decide what an environment or a policy does."""
_REGISTRIES = {"adapter": adapters, "network": networks, "algorithm": algorithms}


@dataclass(frozen=True)
class Plugin:
    """A plugin of the run that does not come with rl2."""

    kind: str
    name: str
    target: str
    """`"module:Class"`."""
    folder: str | None
    """Where its module lies on the learner's machine, if it was registered with a folder."""
    sha256: str | None
    """Of its file."""


@dataclass(frozen=True)
class Assignment:
    """What a worker is told when it starts."""

    spec: dict[str, Any]
    """See `spec_to_dict`."""
    plugins: tuple[Plugin, ...]
    grants: tuple[str, ...]
    """Modules that this user allowed to be imported."""
    paths: tuple[str, ...]
    """Folders in which those are looked for after all others."""
    folder: str
    """The learner's current one; a worker's too, where it is there."""
    versions: dict[str, str]
    code: str
    """Hash of rl2's own code."""


def assignment_of(spec: RunSpec) -> Assignment:
    """Return what the workers of a run are told."""
    folders = {str(folder) for folder in lookup.trusted_modules().values() if folder is not None}
    return Assignment(
        spec_to_dict(spec),
        tuple(_plugins(spec)),
        granted(),
        tuple(sorted(folders)),
        os.getcwd(),
        _versions(),
        _own_code(),
    )


def host() -> str:
    """Return the name of this machine and this process, for people."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def problem_here(assignment: Assignment) -> str | None:
    """Return why this process cannot step environments as the learner would, in words; None where it can."""
    theirs, ours = assignment.versions, _versions()
    different = [
        f"{name} {ours.get(name, 'is missing')} instead of {theirs.get(name, 'none')}"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name)
    ]
    if different:
        return f"it has {' and '.join(different)}: install the learner's versions there"
    if assignment.code != _own_code():
        return "its rl2 has the learner's version and other code: install the same there"
    with suppress(OSError):
        os.chdir(assignment.folder)
    for folder in assignment.paths:
        lookup.append_to_path(folder)
    allow_import(assignment.grants)
    return next(filter(None, map(_plugin_problem, assignment.plugins)), None)


def spec_here(assignment: Assignment) -> RunSpec:
    """Return the run spec, once `problem_here` has found the plugins."""
    return spec_from_dict(assignment.spec)


def _plugins(spec: RunSpec) -> Iterator[Plugin]:
    named = {
        ("adapter", spec.env.backend),
        ("algorithm", spec.algorithm.name),
        ("network", spec.network.name),
        *([("network", spec.critic_network.name)] if spec.critic_network else []),
    }
    for kind, name in sorted(named):
        registry: Registry = _REGISTRIES[kind]
        entry = registry.entry(name)
        if entry.origin != BUILT_IN:
            sha256 = plugin_facts(registry.load(name))["sha256"]
            yield Plugin(kind, name, entry.target, entry.folder, sha256)


def _plugin_problem(plugin: Plugin) -> str | None:
    """Register a plugin under its name, and return why it is not the learner's, in words."""
    registry = _REGISTRIES[plugin.kind]
    lookup.append_to_path(plugin.folder)
    try:
        registry.register(plugin.name, plugin.target)
        found = registry.load(plugin.name)
    except RL2Error as error:
        return f"{error.message}: put its file, or install its package, where it is on the learner's machine"
    if plugin.sha256 is not None and plugin_facts(found)["sha256"] != plugin.sha256:
        return f"its file of {plugin.target} differs from the learner's: put the same one there"
    return None


def _versions() -> dict[str, str]:
    found = versions()
    return {"python": platform.python_version()} | {name: found[name] for name in _DECISIVE if name in found}


@functools.cache
def _own_code() -> str:
    home = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        digest.update(path.relative_to(home).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
