"""Run specs: read, validated, explained and written; torch-free."""

from __future__ import annotations

from rl2cli.spec.load import LoadedSpec, load_spec, load_spec_dict, load_spec_text
from rl2cli.spec.model import RunSpec
from rl2cli.spec.problems import Problem, SpecError
from rl2cli.spec.shipped import shipped_folder, shipped_specs
from rl2cli.spec.write import dump_spec, spec_from_dict, spec_to_dict

__all__ = [
    "LoadedSpec",
    "Problem",
    "RunSpec",
    "SpecError",
    "dump_spec",
    "load_spec",
    "load_spec_dict",
    "load_spec_text",
    "shipped_folder",
    "shipped_specs",
    "spec_from_dict",
    "spec_to_dict",
]
