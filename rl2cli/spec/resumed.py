"""The spec with which a run goes on: the one it began with, but for who steps its environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rl2cli.spec.load import load_spec_dict
from rl2cli.spec.model import RunSpec
from rl2cli.spec.overrides import Override, parse_override
from rl2cli.spec.problems import Problem, SpecError
from rl2cli.spec.source import Finding, dotted
from rl2cli.spec.write import spec_from_dict

CHANGEABLE = ("engine", "address", "workers", "resources", "lost_after")
"""Keys of `[scale]` on which nothing depends that a run learns or records."""


def resumed_spec(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunSpec:
    """Return the run spec that `spec_to_dict` gave, with other workers where `--set` arguments say so.

    Raises:
        SpecError: They change anything else, or the values are not those of a run spec.
    """
    spec = spec_from_dict(values)
    if not overrides:
        return spec
    changes = [parse_override(argument) for argument in overrides]
    problems = [problem for change in changes if (problem := _problem(spec, change)) is not None]
    if problems:
        raise SpecError(problems)
    scale = dict(values["scale"])
    if any(change.path == ("scale", "engine") and change.value == "local" for change in changes):
        scale.pop("address", None)  # which is of a cluster
    return load_spec_dict({**values, "scale": scale}, overrides).spec


def _problem(spec: RunSpec, change: Override) -> Problem | None:
    table, *rest = change.path
    name = dotted(change.path)
    if table != "scale" or not rest or rest[0] not in CHANGEABLE:
        free = ", ".join(f"scale.{key}" for key in CHANGEABLE)
        message, hint = f"a run goes on with the {name} that it began with", f"free are {free}"
    elif not spec.is_sharded:
        message = "this run's environments are in no shards that workers could step"
        hint = 'train a new one with scale.engine = "local" or "ray"'
    else:
        return None
    return change.place(Finding(change.path, message, hint, at_key=True))
