"""A hundredth of `tests/rigs/mutate_specs.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def rig() -> ModuleType:
    file = Path(__file__).parents[1] / "rigs" / "mutate_specs.py"
    found = importlib.util.spec_from_file_location("mutate_specs", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["mutate_specs"] = module  # which NamedTuple looks itself up in
    found.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("built_in")
def test_a_spec_that_is_wrong_is_refused_in_words(rig: ModuleType) -> None:
    assert list(rig.failures(400, seed=7)) == []


@pytest.mark.usefixtures("built_in")
@pytest.mark.slow
def test_the_rig_finds_planted_bugs(rig: ModuleType) -> None:
    found = rig.find_planted(300, seed=0)
    assert len(found) == 10
    assert None not in found.values()
