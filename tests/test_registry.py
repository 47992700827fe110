"""Names of plugins: registered, found, refused with the nearest name, and loaded."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rl2cli.errors import MissingDependencyError, PluginError
from rl2cli.networks.mlp_options import MLPOptions
from rl2cli.plugins import announced
from rl2cli.registry import Entry, Registry, import_target


@pytest.fixture
def registry() -> Registry:
    builtin = Entry("mlp", "rl2cli.networks.mlp:MLP", "built in", "rl2cli.networks.mlp_options:MLPOptions")
    return Registry("network", "rl2cli.networks", "rl2cli.test_networks", "rl2cli.networks.base:BaseNetwork", [builtin])


def _announce(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str, str]) -> None:
    made = [SimpleNamespace(name=name, value=value, dist=SimpleNamespace(name=dist)) for name, value, dist in points]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: made)
    monkeypatch.setattr(announced, "is_any", lambda: True)


def test_a_registered_class_is_loaded(registry: Registry) -> None:
    registry.register("fourier", "own_parts:Fourier")
    assert registry.load("fourier").__name__ == "Fourier"
    assert registry.entry("fourier").origin == "registered"
    assert registry.names() == ["fourier", "mlp"]
    assert "width" in registry.options("fourier").model_fields
    registry.register("fourier", "own_parts:Fourier")  # the same again is no conflict
    registry.unregister("fourier")
    assert registry.names() == ["mlp"]
    registry.unregister("mlp")
    assert registry.names() == ["mlp"]


def test_a_leading_dot_is_relative_to_the_kind(registry: Registry) -> None:
    registry.register("same", ".mlp:MLP")
    assert registry.entry("same").target == "rl2cli.networks.mlp:MLP"


def test_registering_imports_nothing(registry: Registry) -> None:
    registry.register("absent", "no_such_module_of_mine:Network")
    assert "no_such_module_of_mine" not in sys.modules


def test_a_taken_name_is_refused(registry: Registry) -> None:
    with pytest.raises(PluginError, match=r"'mlp' is taken by rl2cli\.networks\.mlp:MLP \(built in\)"):
        registry.register("mlp", "own_parts:Fourier")


@pytest.mark.parametrize("target", ["module", "module:", ":Class", ""])
def test_a_target_names_module_and_class(registry: Registry, target: str) -> None:
    with pytest.raises(PluginError, match="does not name a class"):
        registry.register("name", target)


def test_an_unknown_name_gets_the_nearest_and_how_to_register(registry: Registry) -> None:
    with pytest.raises(PluginError, match="unknown network 'mpl'") as caught:
        registry.entry("mpl")
    assert "did you mean 'mlp'?" in (caught.value.hint or "")
    assert "rl2cli.register_network('mpl', 'module:Class')" in (caught.value.hint or "")
    with pytest.raises(PluginError) as caught:
        registry.entry("zzzzzz")
    assert "there are: mlp" in (caught.value.hint or "")


def test_options_of_a_builtin_need_no_plugin(registry: Registry) -> None:
    assert registry.options("mlp") is MLPOptions


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module_of_mine:Network", "module 'no_such_module_of_mine' not found"),
        ("own_parts:Fourrier", "'Fourrier' is not in own_parts"),
        ("own_parts:NotAnAlgorithm", "is not a subclass of BaseNetwork"),
        ("own_parts:Reinforce", "is not a subclass of BaseNetwork"),
    ],
)
def test_a_target_that_does_not_work_says_which_part(registry: Registry, target: str, message: str) -> None:
    registry.register("mine", target)
    with pytest.raises(PluginError, match=message):
        registry.load("mine")


def test_a_class_without_options_is_refused(registry: Registry) -> None:
    registry.register("bare", "own_parts:WithoutOptions")
    with pytest.raises(PluginError, match="has no Options model"):
        registry.options("bare")


def test_a_near_attribute_is_suggested() -> None:
    with pytest.raises(PluginError) as caught:
        import_target("own_parts:Fourrier", "network")
    assert "'Fourier'" in (caught.value.hint or "")


def test_a_module_that_raises_or_lacks_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "raises_on_import.py").write_text("1 / 0\n")
    (tmp_path / "lacks_a_package.py").write_text("import no_such_package_of_mine\n")
    with pytest.raises(PluginError, match="importing raises_on_import raised ZeroDivisionError"):
        import_target("raises_on_import:Thing", "network")
    with pytest.raises(MissingDependencyError, match="needs 'no_such_package_of_mine'") as caught:
        import_target("lacks_a_package:Thing", "network")
    assert caught.value.hint == "pip install no_such_package_of_mine"


def test_entry_points_are_found_when_they_are_needed(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    _announce(monkeypatch, ("fourier", "own_parts:Fourier", "a-package"))
    assert registry.load("fourier").__name__ == "Fourier"
    assert registry.entry("fourier").origin == "a-package"


def test_a_name_of_ones_own_wins_over_an_entry_point(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.register("fourier", "own_parts:Fourier")
    _announce(monkeypatch, ("fourier", "elsewhere:Fourier", "a-package"))
    assert {entry.name: entry.target for entry in registry.entries()}["fourier"] == "own_parts:Fourier"


def test_two_packages_with_one_name_are_both_shown(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    _announce(monkeypatch, ("one", "a:A", "first"), ("one", "b:B", "second"), ("other", "c:C", "second"))
    assert [(entry.name, entry.origin) for entry in registry.entries()][1:] == [
        ("one", "first"),
        ("one", "second"),
        ("other", "second"),
    ]
    with pytest.raises(
        PluginError, match=r"two packages bring the network 'one': a:A \(first\) and b:B \(second\)"
    ) as caught:
        registry.entry("one")
    assert "rl2 register-network one a:A" in (caught.value.hint or "")
    assert registry.entry("other").origin == "second"


def test_a_package_cannot_take_a_name_of_rl2(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    _announce(monkeypatch, ("mlp", "a:A", "first"))
    assert registry.names() == ["mlp"]
    assert registry.entry("mlp").origin == "built in"
