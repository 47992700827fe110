"""A validated run spec written out again, with every setting explicit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli_w

from rl2cli.spec.load import PLUGIN_TABLES, load_spec_dict
from rl2cli.spec.model import RunSpec


def dump_spec(spec: RunSpec) -> str:
    """Return `spec` as TOML text: every effective setting, plugin options in their tables, stable order.

    `load_spec_text(dump_spec(spec)).spec == spec` for every spec that came from `load_spec`.
    """
    return tomli_w.dumps(spec_to_dict(spec))


def spec_to_dict(spec: RunSpec) -> dict[str, Any]:
    """Return `spec` as the nested dict that its TOML text reads as, ready for JSON too; None is left out."""
    values = spec.model_dump(mode="json", exclude_none=True, by_alias=True)
    for table in PLUGIN_TABLES:
        part = getattr(spec, table)
        if part is not None:
            values[table] |= part.options.model_dump(mode="json", exclude_none=True)
    return values


def spec_from_dict(values: Mapping[str, Any]) -> RunSpec:
    """Return the run spec that `spec_to_dict` gave, validated again.

    Raises:
        SpecError: The values are not those of a run spec.
    """
    return load_spec_dict(values).spec
