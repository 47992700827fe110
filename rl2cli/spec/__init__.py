"""Run specs: read, validated, explained and written; torch-free, and each name is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl2cli.spec.load import LoadedSpec as LoadedSpec
    from rl2cli.spec.load import load_spec as load_spec
    from rl2cli.spec.load import load_spec_dict as load_spec_dict
    from rl2cli.spec.load import load_spec_text as load_spec_text
    from rl2cli.spec.model import RunSpec as RunSpec
    from rl2cli.spec.problems import Problem as Problem
    from rl2cli.spec.problems import SpecError as SpecError
    from rl2cli.spec.resumed import resumed_spec as resumed_spec
    from rl2cli.spec.shipped import shipped_folder as shipped_folder
    from rl2cli.spec.shipped import shipped_specs as shipped_specs
    from rl2cli.spec.write import dump_spec as dump_spec
    from rl2cli.spec.write import spec_from_dict as spec_from_dict
    from rl2cli.spec.write import spec_to_dict as spec_to_dict

_HOMES = {
    "LoadedSpec": "load",
    "Problem": "problems",
    "RunSpec": "model",
    "SpecError": "problems",
    "dump_spec": "write",
    "load_spec": "load",
    "load_spec_dict": "load",
    "load_spec_text": "load",
    "resumed_spec": "resumed",
    "shipped_folder": "shipped",
    "shipped_specs": "shipped",
    "spec_from_dict": "write",
    "spec_to_dict": "write",
}

__all__ = [
    "LoadedSpec",
    "Problem",
    "RunSpec",
    "SpecError",
    "dump_spec",
    "load_spec",
    "load_spec_dict",
    "load_spec_text",
    "resumed_spec",
    "shipped_folder",
    "shipped_specs",
    "spec_from_dict",
    "spec_to_dict",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"rl2cli.spec.{_HOMES[name]}"), name)
