from __future__ import annotations

import pytest
from made_up_options import LearnerOptions

from rl2cli.spec.describe import OptionRow, option_rows
from rl2cli.spec.model import EnvSpec
from rl2cli.spec.schema import json_schema, schema_text
from rl2cli.spec.shipped import shipped_folder


@pytest.mark.usefixtures("built_in")
def test_the_shipped_schema_is_up_to_date() -> None:
    written = (shipped_folder() / "schema.json").read_text(encoding="utf-8")
    assert written == schema_text(), "python -m rl2cli.spec.schema > runs/schema.json"


def test_plugin_options_are_merged_into_their_tables() -> None:
    schema = json_schema()
    whole = schema["then"]
    assert (schema["required"], whole["required"]) == ([], ["total_frames", "env"])
    [choice] = whole["properties"]["env"]["allOf"]
    assert choice["if"] == {"properties": {"backend": {"const": "gymnasium"}}}
    assert set(choice["then"]["properties"]) == {
        "backend", "num_envs", "workers", "timeout", "max_restarts", "id", "kwargs",
    }  # fmt: skip
    assert (choice["then"]["required"], choice["then"]["additionalProperties"]) == (["id"], False)
    assert "$ref" not in schema_text()
    assert "null" not in schema_text()


def test_a_spec_that_extends_another_needs_nothing_and_names_its_plugins_elsewhere() -> None:
    schema = json_schema()
    assert schema["properties"]["extends"]["type"] == "string"
    assert schema["if"]["not"] == {"required": ["extends"]}
    choice, other = schema["properties"]["env"]["allOf"]
    assert other["if"]["properties"] == {"backend": {"not": {"enum": ["gymnasium"]}}}
    assert choice["if"]["required"] == ["backend"]
    assert "required" not in choice["then"]


def test_options_become_rows_in_words() -> None:
    assert option_rows(LearnerOptions) == [
        OptionRow("learning_rate", "number or table", "0.001", "above 0", "Step size."),
        OptionRow("learning_rate.start", "number", "required", "", "First value."),
        OptionRow("learning_rate.shape", "'linear' or 'cosine'", '"linear"', "", "Form."),
        OptionRow("batch", "integer", "8", "at least 1", ""),
        OptionRow("clip", "number", "", "", ""),
    ]
    assert [row.name for row in option_rows(EnvSpec)] == [
        "backend", "num_envs", "workers", "timeout", "max_restarts",
    ]  # fmt: skip
