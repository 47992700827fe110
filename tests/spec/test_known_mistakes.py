"""A hundred specs with a mistake whose answer is known, of `tests/rigs/known_mistakes.py`."""

from __future__ import annotations

from types import ModuleType

import pytest
from rig_loader import load_rig


@pytest.fixture(scope="module")
def rig() -> ModuleType:
    return load_rig("known_mistakes")


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
