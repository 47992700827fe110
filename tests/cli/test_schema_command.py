"""The schema of the plugins known here: the shipped one, a kept one, or a new one, and always the right one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_runner import Rl2

from rl2cli.plugins import lookup, schema_cache
from rl2cli.spec import schema
from rl2cli.spec.known_schema import known_schema_text

PLUGIN = """
import pydantic

from rl2cli.networks.base import BaseNetwork
from rl2cli.options import Options


class Net(BaseNetwork):
    class Options(Options):
        {option}: int = pydantic.Field(1, description="A number of it.")

    def forward(self, observation, extra=None):
        return observation
"""


@pytest.fixture(autouse=True)
def _as_if_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test a folder, settings and a cache of its own."""
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def built(*, registered: bool) -> str:
    raise AssertionError("it is built")


def test_without_plugins_it_is_the_shipped_one(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = schema.schema_text(registered=True)
    monkeypatch.setattr(schema, "schema_text", built)
    assert known_schema_text() == expected


def test_it_is_built_once_for_the_same_plugins(rl2: Rl2, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("schema_net.py").write_text(PLUGIN.format(option="waves"), encoding="utf-8")
    assert rl2("register-network", "net", "schema_net:Net", "--no-check").code == 0
    with schema_cache.preferred():
        expected = schema.schema_text(registered=True)
        assert '"waves"' in expected
        assert known_schema_text() == expected
        with monkeypatch.context() as patch:
            patch.setattr(schema, "schema_text", built)
            assert known_schema_text() == expected
        Path("schema_net.py").write_text(PLUGIN.format(option="ripples"), encoding="utf-8")
        changed = known_schema_text()
    assert '"ripples"' in changed
    assert '"waves"' not in changed


def test_what_is_not_trusted_counts_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("rl2.toml").write_text('[networks]\nnet = "schema_net:Net"\n', encoding="utf-8")
    lookup.look_from(Path.cwd())
    assert json.loads(known_schema_text()) == schema.json_schema(registered=True)
