from __future__ import annotations

from rl2cli.text import display_width, printable, shortened


def test_characters_that_steer_a_terminal_are_replaced_one_for_one() -> None:
    hostile = "a\x1b[2J\x07\x9b\u202e\u2066\u200b\ud800\u2028\r\n\tb"
    assert printable(hostile) == "a\ufffd[2J" + "\ufffd" * 7 + "   b"
    assert printable("a\nb\x1b", keep_newlines=True) == "a\nb\ufffd"
    assert printable("grün 日本 [/]") == "grün 日本 [/]"


def test_width_counts_terminal_columns() -> None:
    assert [display_width(text) for text in ("ab", "日本", "e\u0301")] == [2, 4, 1]


def test_long_text_is_cut() -> None:
    assert (shortened("abcdef", 4), shortened("abcd", 4)) == ("abc…", "abcd")
