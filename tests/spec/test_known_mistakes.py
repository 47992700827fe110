"""A hundred specs with a mistake whose answer is known, of `tests/rigs/known_mistakes.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def rig() -> ModuleType:
    file = Path(__file__).parents[1] / "rigs" / "known_mistakes.py"
    found = importlib.util.spec_from_file_location("known_mistakes", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["known_mistakes"] = module  # which NamedTuple looks itself up in
    found.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("built_in")
def test_mistakes_are_answered_with_their_line_and_what_would_be_right(rig: ModuleType) -> None:
    found = rig.answers(100, seed=1)
    assert len(found) >= 100
    assert all(each.right_line for each in found), rig.table(found)
    assert sum(each.right_answer for each in found) >= 0.95 * len(found), rig.table(found)


@pytest.mark.usefixtures("built_in")
def test_what_the_mistakes_are_made_of_is_right(rig: ModuleType) -> None:
    for text in (rig.BASE, rig.SAC):
        assert not rig.answered(rig.Mistake("none", "", text, 1, "")).right_line
        assert rig.answered(rig.Mistake("none", "", text, 1, "")).said == "accepted"
