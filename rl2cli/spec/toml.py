"""TOML text → plain values that rl2 can use: finite numbers, 64-bit integers, bounded size and depth.

Whatever is wrong with the text becomes a `SpecError` with its place; nothing else leaves `parse`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import tomli

from rl2cli.spec.locate import Path, Span
from rl2cli.spec.problems import MAX_PROBLEMS, Problem, SpecError
from rl2cli.spec.source import Finding, Source

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
"""Most parts of one dotted key, and most arrays and inline tables inside each other."""
MAX_DIGITS = 100

_TOKEN = re.compile(
    r'"""(?:[^"\\]++|\\.|"(?!""))*+(?:"{3,5})?'
    r"|'''(?:[^']++|'(?!''))*+(?:'{3,5})?"
    r'|(?P<part>"(?:[^"\\\n]++|\\[^\n])*+"?' + r"|'[^'\n]*+'?|[A-Za-z0-9_+-]++)"
    r"|(?P<space>[ \t]++|#[^\n]*+)"
    r"|(?P<mark>[.\[\]{}])"
    r"|[^\"'A-Za-z0-9_+\- \t#.\[\]{}]++",
    re.DOTALL,
)


def parse(content: str | bytes, source_name: str) -> dict[str, Any]:
    """Return the values of a TOML document.

    Raises:
        SpecError: It is too big, not UTF-8, not TOML, or holds a value that no setting can have.
    """
    return parse_source(Source(source_name, decode(content, source_name)))


def decode(content: str | bytes, source_name: str) -> str:
    """Return `content` as text without a byte order mark.

    Raises:
        SpecError: It is bigger than `MAX_BYTES` or not UTF-8.
    """
    size = len(content)
    if size > MAX_BYTES:
        hint = "a run spec has a few kilobytes; is this the right file?"
        raise SpecError([Source(source_name, "").problem(f"the file has more than {MAX_BYTES:,} bytes", hint=hint)])
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise SpecError([_not_utf8(content, error.start, source_name)]) from None


def parse_source(source: Source) -> dict[str, Any]:
    """Return the values of `source`, a TOML document.

    Raises:
        SpecError: It is not TOML, or holds a value that no setting can have.
    """
    _refuse_excess(source)
    try:
        data = tomli.loads(source.text)
    except tomli.TOMLDecodeError as error:
        span = _syntax_span(source, error)
        raise SpecError(
            [source.problem(_syntax_message(error.msg), hint=_syntax_hint(source, error), span=span)]
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise SpecError([source.problem(f"this is not TOML that rl2 can read: {error}", hint=_FORMS)]) from None
    findings = list(unusable_values(data))
    if findings:
        shown = sorted((source.place(finding) for finding in findings[:MAX_PROBLEMS]), key=lambda p: p.line or 0)
        raise SpecError(shown, omitted=len(findings) - len(shown))
    return data


def unusable_values(data: dict[str, Any]) -> Iterator[Finding]:
    """Yield each value in `data` that no setting can have."""
    stack: list[tuple[Path, Any]] = [((), data)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            stack += [((*path, name), item) for name, item in value.items()]
        elif isinstance(value, list):
            stack += [((*path, index), item) for index, item in enumerate(value)]
        elif (finding := _unusable(path, value)) is not None:
            yield finding


def _unusable(path: Path, value: Any) -> Finding | None:
    """Return what is wrong with the value at `path`, or None."""
    if isinstance(value, (bool, str)):
        return None
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return None
        return Finding(path, "this integer does not fit 64 bits", "the largest is 2^63 - 1: is a digit too many there?")
    if isinstance(value, float):
        if math.isfinite(value):
            return None
        return Finding(path, f"expected a finite number, got {value}", "left out, the setting has its default")
    return Finding(path, "no setting of rl2 takes a date or a time", "put it in quotes if a text is meant")


def _refuse_excess(source: Source) -> None:
    """Refuse nesting, dotted keys and numbers so long that reading them would take minutes or gigabytes.

    Raises:
        SpecError: The first of them.
    """
    depth = parts = 0
    for token in _TOKEN.finditer(source.text):
        if token["space"]:
            continue
        mark = token["mark"]
        depth += (mark in ("[", "{")) - (mark in ("]", "}")) if mark else 0
        parts = parts + 1 if token["part"] else parts if mark == "." else 0
        if depth > MAX_DEPTH:
            raise _excess(source, token, f"more than {MAX_DEPTH} arrays and tables inside each other")
        if parts > MAX_DEPTH:
            raise _excess(source, token, f"a key of more than {MAX_DEPTH} parts")
        if token["part"] and len(token[0]) > MAX_DIGITS and _is_number(token[0]):
            raise _excess(source, token, f"a number of more than {MAX_DIGITS} digits")


def _is_number(text: str) -> bool:
    return text.lstrip("+-").replace("_", "").isdecimal()


def _excess(source: Source, token: re.Match[str], message: str) -> SpecError:
    line = source.text.count("\n", 0, token.start()) + 1
    column = token.start() - source.text.rfind("\n", 0, token.start())
    hint = "no setting needs as much; is this the right file?"
    return SpecError([source.problem(message, hint=hint, span=Span(line, column, column + len(token[0])))])


def _not_utf8(content: bytes, offset: int, source_name: str) -> Problem:
    text = content.decode("utf-8", errors="replace")
    before = content[:offset].decode("utf-8", errors="replace")
    column = len(before) - before.rfind("\n")
    span = Span(before.count("\n") + 1, column, column + 1)
    message = f"byte 0x{content[offset]:02x} is not UTF-8"
    return Source(source_name, text).problem(message, hint="save the file with the encoding UTF-8", span=span)


def _syntax_span(source: Source, error: tomli.TOMLDecodeError) -> Span:
    """Return where the mistake is; of a key or table that is there twice, all of it rather than its end."""
    opening = _opening(source, error.pos) if error.msg.startswith("Unclosed") else None
    if opening is not None:
        return opening
    if not error.msg.startswith("Cannot "):
        return Span(error.lineno, error.colno, error.colno + 1)
    line = source.text.split("\n", error.lineno)[error.lineno - 1][: error.colno - 1]
    return Span(error.lineno, len(line) - len(line.lstrip()) + 1, error.colno)


def _syntax_message(message: str) -> str:
    """Return tomli's message as the middle of a sentence."""
    if message == "Cannot overwrite a value":
        return "this key has a value already"
    if message.startswith("Cannot declare"):
        return "this table is there already"
    return f"this is not TOML: {message[:1].lower()}{message[1:]}"


def _syntax_hint(source: Source, error: tomli.TOMLDecodeError) -> str | None:
    """Return what to write instead, for the mistakes that people make."""
    line = source.text.split("\n", error.lineno)[error.lineno - 1]
    if error.msg == "Cannot overwrite a value" or error.msg.startswith("Cannot declare"):
        return _first_hint(source, error.lineno, line)
    if error.msg.startswith("Unclosed"):
        return "a closing bracket is missing"
    if error.msg.startswith("Illegal character '\\n'") or error.msg.startswith("Unterminated string"):
        return "the closing quote is missing"
    if error.msg == "Invalid value" or error.msg.startswith("Expected newline"):
        value = line.partition("=")[2].partition("#")[0].strip()
        return _value_hint(value)
    if error.msg.startswith("Expected '='"):
        return "a setting is written as key = value, a table as [table]"
    return "text is written in quotes, tables as [table], settings as key = value"


def _value_hint(value: str) -> str:
    """Return what to write in place of a value that is not TOML."""
    if not value:
        return "a value is missing after the equals sign"
    word = re.split(r"[\s,#\]}]", value)[0]
    known = {"true": "true", "false": "false", "yes": "true", "no": "false", "on": "true", "off": "false"}
    if word.lower() in known:
        return f"write {known[word.lower()]}"
    if word.lower() in ("none", "null", "nil"):
        return "remove the line: what is left out has its default"
    number = _as_number(value)
    if number is not None:
        return f"write {number}"
    return f'text is written in quotes: "{word}"' if word.replace("-", "_").isidentifier() else _FORMS


_FORMS = "values are numbers (0.5, 1_000), true, false, text in quotes, arrays [1, 2] and tables { a = 1 }"


def _as_number(text: str) -> str | None:
    """Return a number that is not written as TOML wants it, as TOML has it; None where it is none."""
    if re.fullmatch(r"[+-]?\.\d+|[+-]?\d+\.", text):
        return text.replace(".", "0.", 1) if "." in text[:2] and not text[0].isdigit() else f"{text}0"
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return text.replace(",", ".")
    if re.fullmatch(r"[+-]?\d{1,3}(\.\d{3}){2,}|[+-]?\d{1,3}(,\d{3}){2,}", text):
        return re.sub(r"[.,]", "_", text)
    if re.fullmatch(r"[+-]?0\d+", text):
        return str(int(text))
    if scaled := re.fullmatch(r"(\d{1,9})([kKmM])", text):
        return f"{int(scaled[1]) * (1_000 if scaled[2] in 'kK' else 1_000_000):_}"
    return None


def _first_hint(source: Source, number: int, line: str) -> str:
    """Return where the key or table that line `number` has again was written first."""
    text = line.strip()
    start = text if text.startswith("[") else text.partition("=")[0].strip()
    before = [each.strip() for each in source.text.split("\n")[: number - 1]]
    for index in range(len(before) - 1, -1, -1):
        found = before[index]
        if found == start or (not start.startswith("[") and found.partition("=")[0].strip() == start):
            return f"it is in line {index + 1} already: keep one of the two"
        if found.startswith("[") and not start.startswith("["):
            break
    return "keep one of the two"


def _opening(source: Source, end: int) -> Span | None:
    """Return where the last bracket before offset `end` stands that is not closed."""
    opened: list[int] = []
    for token in _TOKEN.finditer(source.text, 0, end):
        if token["mark"] in ("[", "{"):
            opened.append(token.start())
        elif token["mark"] in ("]", "}") and opened:
            opened.pop()
    if not opened:
        return None
    line = source.text.count("\n", 0, opened[-1]) + 1
    column = opened[-1] - source.text.rfind("\n", 0, opened[-1])
    return Span(line, column, column + 1)
