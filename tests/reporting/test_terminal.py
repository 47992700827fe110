"""Pictures in a terminal, and the terminal as it was afterwards."""

from __future__ import annotations

import io
import os
import re

import numpy as np
import pytest

from rl2cli.errors import UsageError
from rl2cli.reporting import terminal
from rl2cli.reporting.terminal import Colours, TerminalScreen, picture_lines, terminal_colours

RED_OVER_BLUE = np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8)


class Screen(io.TextIOWrapper):
    """A terminal that remembers what was written."""

    def __init__(self, encoding: str = "utf-8", is_terminal: bool = True) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


@pytest.mark.parametrize(
    ("colours", "half_blocks", "expected"),
    [
        ("24 bits", True, "\x1b[38;2;255;0;0;48;2;0;0;255m▀"),
        ("256", True, "\x1b[38;5;196;48;5;21m▀"),
        ("none", True, ":"),
    ],
)
def test_two_pixels_in_a_cell(colours: Colours, half_blocks: bool, expected: str) -> None:
    assert picture_lines(RED_OVER_BLUE, 1, 1, colours, half_blocks) == [expected]


def test_without_half_blocks_a_cell_is_one_pixel() -> None:
    picture = np.array([[[255, 0, 0], [255, 0, 0]]], np.uint8)
    assert picture_lines(picture, 4, 1, "24 bits", False) == ["\x1b[48;2;255;0;0m    "]


def test_grays_are_finer_than_the_cube() -> None:
    grays = np.repeat(np.array([[[8], [128], [238]]], np.uint8), 3, axis=-1).repeat(2, axis=0)
    assert re.findall(r"38;5;(\d+)", picture_lines(grays, 3, 1, "256", True)[0]) == ["232", "244", "255"]


@pytest.mark.parametrize(("columns", "lines", "across", "down"), [(80, 23, 69, 23), (40, 40, 40, 13), (2, 1, 2, 1)])
def test_a_picture_keeps_its_proportions(columns: int, lines: int, across: int, down: int) -> None:
    shown = picture_lines(np.zeros((400, 600, 3), np.uint8), columns, lines, "24 bits", True)
    assert len(shown) == down
    assert {line.count("▀") for line in shown} == {across}
    assert {len(line) - len(line.lstrip()) for line in shown} == {(columns - across) // 2}


def test_only_what_changed_is_sent_and_all_of_it_after_a_resize(monkeypatch: pytest.MonkeyPatch) -> None:
    size = [os.terminal_size((20, 5))]
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda: size[0])
    screen = Screen()
    picture = np.zeros((8, 20, 3), np.uint8)
    with TerminalScreen(screen) as shown:
        shown.show(picture, "step 1")
        before = screen.text
        shown.show(picture, "step 2")
        assert screen.text.removeprefix(before).count("\x1b[K") == 1
        assert "step 2" in screen.text
        size[0] = os.terminal_size((12, 4))
        before = screen.text
        shown.show(picture, "a long line of text\x1b[31m")
        assert "\x1b[2J" in screen.text.removeprefix(before)
        assert screen.text.removeprefix(before).count("\x1b[K") == 4
        assert "a long line\x1b" in screen.text


def draw_and_fail(screen: Screen) -> None:
    with TerminalScreen(screen):
        assert screen.text == "\x1b[?1049h\x1b[?25l\x1b[2J"
        raise ZeroDivisionError


def test_the_terminal_is_given_back_whatever_happens() -> None:
    screen = Screen()
    with pytest.raises(ZeroDivisionError):
        draw_and_fail(screen)
    assert screen.text.endswith("\x1b[0m\x1b[?25h\x1b[?1049l")


def test_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no terminal to draw in"):
        TerminalScreen(Screen(is_terminal=False))
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(UsageError, match="no terminal to draw in"):
        TerminalScreen(Screen())


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, "256"), ({"COLORTERM": "truecolor"}, "24 bits"), ({"COLORTERM": "truecolor", "NO_COLOR": "1"}, "none")],
)
def test_colours(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    for name in ("COLORTERM", "NO_COLOR", "WT_SESSION"):
        monkeypatch.setenv(name, variables.get(name, ""))
    assert terminal_colours() == expected
