"""What a simulator says while it starts is kept, and shown where the start fails."""

from __future__ import annotations

import pytest

from rl2cli.envs.isaac.quiet import chatter_kept
from rl2cli.errors import EnvironmentFault


def test_a_simulator_that_ends_the_program_is_an_error_with_its_last_words(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EnvironmentFault, match="wanted to end the program, with exit code 1"), chatter_kept():
        _end()
    assert capfd.readouterr().err == "this renderer needs Isaac Sim\n"


def test_a_start_that_succeeds_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with chatter_kept():
        print("loading")
    assert capfd.readouterr() == ("", "")


def _end() -> None:
    print("this renderer needs Isaac Sim")
    raise SystemExit(1)
