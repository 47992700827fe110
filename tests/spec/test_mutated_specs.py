"""A hundredth of `tests/rigs/mutate_specs.py`."""

from __future__ import annotations

from types import ModuleType

import pytest
from rig_loader import load_rig


@pytest.fixture(scope="module")
def rig() -> ModuleType:
    return load_rig("mutate_specs")


@pytest.mark.usefixtures("built_in")
def test_a_spec_that_is_wrong_is_refused_in_words(rig: ModuleType) -> None:
    assert list(rig.failures(400, seed=7)) == []


@pytest.mark.usefixtures("built_in")
@pytest.mark.slow
def test_the_rig_finds_planted_bugs(rig: ModuleType) -> None:
    found = rig.find_planted(300, seed=0)
    assert len(found) == 10
    assert None not in found.values()
