from __future__ import annotations

import time

import pytest

from rl2cli.spec.problems import Problem, SpecError
from rl2cli.spec.toml import MAX_BYTES, parse


def problem_of(content: str | bytes) -> Problem:
    with pytest.raises(SpecError) as caught:
        parse(content, "a.toml")
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("content", "message", "line", "column"),
    [
        ("a = 1\nb = \n", "this is not TOML: invalid value", 2, 5),
        ("a = 1\nb = maybe\n", "this is not TOML: invalid value", 2, 5),
        ("a = 1\nx y = 1", "this is not TOML: expected '=' after a key in a key/value pair", 2, 3),
        ("a = 1\nb = nan\n", "expected a finite number, got nan", 2, 5),
        ("a = 1\nb = [1, -inf]\n", "expected a finite number, got -inf", 2, 9),
        ("b = 1e999", "expected a finite number, got inf", 1, 5),
        ("a = 18446744073709551616", "this integer does not fit 64 bits", 1, 5),
        (f"ä = 1\na = {'1' * 10_000}", "a number of more than 100 digits", 2, 5),
        (f"a = {'[' * 100_000}", "more than 32 arrays and tables inside each other", 1, 37),
        (f"a = {'{b=' * 100}", "more than 32 arrays and tables inside each other", 1, 101),
        ("k." * 200_000 + "k = 1", "a key of more than 32 parts", 1, 65),
        (b"a = 1\nb = '\xc3\xa4\xff'", "byte 0xff is not UTF-8", 2, 7),
        ("a = 1979-05-27", "no setting of rl2 takes a date or a time", 1, 5),
        ("#" * (MAX_BYTES + 1), "the file has more than 1,000,000 bytes", 1, 1),
    ],
)
def test_bad_text_is_a_problem_with_its_place(content: str | bytes, message: str, line: int, column: int) -> None:
    started = time.process_time()
    problem = problem_of(content)
    assert (problem.message, problem.line, problem.column) == (message, line, column)
    assert time.process_time() - started < 1.0


def test_a_key_twice_is_marked_as_a_whole() -> None:
    assert problem_of("a = 1\n\n  a = 2 # again\n").render() == (
        "error: this key has a value already\n  --> a.toml:3:3\n   |\n 3 |   a = 2 # again\n   |   ^^^^^"
        "\n\nhint: it is in line 1 already: keep one of the two"
    )


@pytest.mark.parametrize(
    "content",
    [
        "k" * 400_000 + " = 1",
        "a = '" + "." * 400_000 + "'",
        "[[a]]\n" * 30_000,
        'a = """' + '""x' * 100_000 + '"""',
        "a = [" + "1," * 50_000 + "]",
    ],
)
def test_long_but_valid_text_is_read_quickly(content: str) -> None:
    started = time.process_time()
    assert len(parse(content, "a.toml")) == 1
    assert time.process_time() - started < 2.0


def test_many_long_keys_are_refused_before_they_take_memory() -> None:
    started = time.process_time()
    assert problem_of("\n".join(f"k{i}.{'a.' * 997}b = 1" for i in range(400))).line == 1
    assert time.process_time() - started < 1.0


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    assert parse(b"\xef\xbb\xbfa = 1\r\nb = 2\r\n", "a.toml") == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("a = True", "write true"),
        ("a = cuda", 'text is written in quotes: "cuda"'),
        ("a = ", "a value is missing after the equals sign"),
    ],
)
def test_common_mistakes_have_a_hint(content: str, hint: str) -> None:
    assert problem_of(content).hint == hint
