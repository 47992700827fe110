from __future__ import annotations

import pytest

from rl2cli import trust
from rl2cli.errors import UsageError


@pytest.fixture(autouse=True)
def _nothing_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_granted", set())


def test_a_grant_covers_the_package_below_and_around_it() -> None:
    assert not trust.is_allowed("my_pkg.envs")
    trust.allow_import(["my_pkg.envs"])
    for name in ("my_pkg.envs", "my_pkg.envs.maze", "my_pkg"):
        assert trust.is_allowed(name)
    for name in ("my_pkg.other", "my_pkg.envs_too", "my", "os"):
        assert not trust.is_allowed(name)
    assert trust.granted() == ("my_pkg.envs",)


def test_installed_packages_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_entry_point_modules", lambda: frozenset({"a_plugin.adapters"}))
    assert trust.is_allowed("a_plugin.adapters")
    assert not trust.is_allowed("b_plugin")


def test_the_refusal_names_the_option() -> None:
    with pytest.raises(UsageError, match=r"env\.id would import the module 'os'") as caught:
        trust.require_allowed("os", "env.id")
    assert caught.value.hint is not None
    assert "--allow-import os" in caught.value.hint
