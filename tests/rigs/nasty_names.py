"""Names that somebody hostile would choose, and what a screen, a page or a folder must not show of them."""

from __future__ import annotations

import os
import random
import re
import unicodedata
from collections.abc import Callable, Iterator
from html.parser import HTMLParser

FORGED = "FORGED"
"""Stands behind what would begin a line: no line of any output may begin with it."""
MARKED = "MARKED"
"""Stands in markup: where it is shown, the markup is shown too."""
STYLES = re.compile(
    r"\x1b\[(?:0|[1-3]|2[2-5]|3[0-7]|39|9[0-7]|4[0-7]|49|38;[25];[0-9;]+|48;[25];[0-9;]+)?(?:;(?:[1-3]|3[0-7]|9[0-7]))*m"
)
"""What rl2 and rich colour with; no name has a code of these."""
CURSOR = re.compile(r"\r|\x1b\[(?:\?25[lh]|\?2026[lh]|\?1049[lh]|[0-9]*[AK]|[12]J|[0-9]*;?[0-9]*H)")
"""What the live views move the cursor with."""
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_MOST_MARKS = 8
_LONGEST_LINE = 8_200

_TRAVERSAL = (
    "../../../../tmp/rl2-escaped",
    "..",
    ".",
    "/tmp/rl2-escaped",
    "//etc/passwd",
    "a/../../b",
    "..\\..\\x",
    "C:\\x",
    "\\\\server\\share",
    "~",
    "~root/x",
    "$HOME/x",
    "%TEMP%\\x",
    "file:///tmp/x",
    "a/\x00/../b",
    "./.lock",
)
_RESERVED = (
    "CON",
    "nul",
    "AUX.txt",
    "COM1",
    "lpt9.",
    "a.",
    "a ",
    " a",
    "...",
    "a:stream",
    "con .json",
    "-",
    "--",
    "-rf",
    "--help",
    "--json",
    "-v",
    "latest",
    "best.json",
    "000000000000128",
    "segments",
    ".saving-000000000000128",
    "",
)
_CONTROLS = (
    "\x1b[8;5m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x1b\\link",
    "\x1b[6n",
    "\x1b[?1000h",
    "\x1bc",
    "\x1b[3J",
    "\x9b2J",
    "\x9d0;x\x9c",
    "\x90q\x9c",
    "\x07",
    "\x08\x08\x08",
    "\x0e",
    "\x7f",
    "\x00",
    "\x0b",
    "\x0c",
    "\x85",
    "\x1b",
    "\x1b[",
    "\x1bP+q\x1b\\",
)
_LINES = (
    f"\n{FORGED}",
    f"\r{FORGED}",
    f"\r\n{FORGED}",
    f"\x85{FORGED}",
    f"\u2028{FORGED}",
    f"\u2029{FORGED}",
    f"\x0b{FORGED}",
    f"\n\n{FORGED}: error",
    f"\n{FORGED} hint: rm -rf",
)
_BIDI = ("\u202e", "\u2066", "\u202a", "\u200f", "\u061c", "\u2069", "\u202c")
_UNSEEN = (
    "\u200b",
    "\u200d",
    "\ufeff",
    "\u00ad",
    "\u2060",
    "\U000e0041",
    "\u180e",
    "\u034f",
    "\ufe0f",
    "\u3164",
    "\u115f",
)
_MARKUP = (
    f"[bold red]{MARKED}[/bold red]",
    f"[link=x]{MARKED}[/link]",
    "[/]",
    "[/nothing]",
    "[[]]",
    "\\[",
    ":smile:",
    "[@click=x]",
)
_HTML = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><b onmouseover=x>',
    "'><svg/onload=x>",
    "</pre></details><h1>x",
    "]]>",
    "<!--",
    "&lt;b&gt;",
    "</title><script>",
    "</svg><script>",
    "javascript:alert(1)",
    "&#x202e;",
)
_FORMATS = (
    "%s%n%x",
    "%(name)s",
    "{0.__class__}",
    "{}",
    "{name!r:>99999}",
    "${x}",
    "$\\frac{",
    "$x_1$",
    "\\u202e",
    "\\x1b[2J",
    "`id`",
    "$(id)",
    "%%",
    "%",
)
_UNICODE = (
    "\ufb01",
    "\uff0e\uff0e\uff0f",
    "A\u030a",
    "\u212b",
    "\u2024\u2024\u2215",
    "\u0130",
    "\u1e9e",
    "\U0001f468",
    "\u65e5\u672c",
    "\ufdfa",
    "\u0378",
    "\ufffe",
    "\U0010ffff",
    "\ue000",
    "\U0001f1e9",
)
_SURROGATES = ("\ud800", "\udc80", "\udcff", "\udbff\udfff", "\udce2\udc80")
_KINDS = (_TRAVERSAL, _RESERVED, _CONTROLS, _LINES, _BIDI, _UNSEEN, _MARKUP, _HTML, _FORMATS, _UNICODE, _SURROGATES)


def name(draw: random.Random) -> str:
    """Return one name: one to four nasty parts, plain letters between them."""
    parts = [draw.choice(draw.choice(_KINDS)) for _ in range(draw.choice((1, 1, 2, 3, 4)))]
    found = draw.choice(("", "a", "run ", "loss/", "env.")).join(parts)
    how = draw.random()
    if how < 0.03:
        return found + draw.choice(("x", "\u4e00", "ab ", "a/")) * draw.choice((300, 5_000, 100_000))
    if how < 0.08:
        return found + "z" + draw.choice("\u0301\u0489\u20dd\u0e49") * draw.choice((9, 300, 5_000))
    return found + draw.choice(("", "", "z", ".toml", "-v1", ":X"))


def as_argument(text: str) -> str:
    """Return what of a name a command line can hold."""
    kept = "".join(c for c in text if c != "\0" and (not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff"))
    return kept[:100_000]


def as_file_name(text: str) -> str:
    """Return what of a name the name of a file can hold."""
    encoded = os.fsencode(as_argument(text).replace("/", "_"))[:200]
    return os.fsdecode(encoded) if encoded not in (b"", b".", b"..") else "empty"


def problems_of(text: str, *, terminal: bool, several_lines: bool = False) -> Iterator[str]:
    """Yield what is wrong with what was printed, where `terminal` may have colours and a cursor that moves.

    With `several_lines` the text of a name may keep its line breaks, as in a traceback.
    """
    plain = CURSOR.sub("", STYLES.sub("", text)) if terminal else text
    bad = {c for c in plain if c != "\n" and unicodedata.category(c) in _HIDDEN}
    if bad:
        shown = next(line for line in plain.split("\n") if bad & set(line))
        yield f"prints {sorted(map(ascii, bad))} in {shown[:160]!a}"
    if not several_lines and any(line.startswith(FORGED) for line in plain.splitlines()):
        yield "a name begins a line of its own"
    if re.search(rf"(?<!\[bold red\])(?<!\[link=x\]){MARKED}", re.sub(rf"…[^ ]{{0,15}}{MARKED}", "", plain)):
        yield "markup is not shown as it is"
    if "\N{SMILING FACE WITH OPEN MOUTH AND SMILING EYES}" in plain:
        yield "a code became an emoji"
    if _longest_flood(plain) > _MOST_MARKS:
        yield f"{_longest_flood(plain)} combining marks in a row"
    for words in ("Traceback (most recent", "rl2 did not expect"):
        if words in plain and not several_lines:
            yield f"{words}: {plain[plain.index(words) :][-300:]!a}"
    longest = max(map(len, plain.split("\n")))
    if longest > _LONGEST_LINE and not several_lines:
        yield f"a line of {longest:,} characters"


def _longest_flood(text: str) -> int:
    if text.isascii():
        return 0
    longest = here = 0
    for character in text:
        here = here + 1 if unicodedata.category(character)[0] == "M" else 0
        longest = max(longest, here)
    return longest


class Structure(HTMLParser):
    """Which elements a page has, with the names of their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: set[tuple[str, ...]] = set()
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements |= {(tag, name) for name, _ in attrs} | {(tag,)}
        self.words += [f"{name}={value}" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        """Note nothing."""


def problems_of_page(page: str, benign: str) -> Iterator[str]:
    """Yield what is wrong with a page, which may have no element and no attribute that a benign one has not."""
    found, expected = Structure(page), Structure(benign)
    if more := found.elements - expected.elements:
        yield f"a page has {sorted(more)}"
    if links := [word for word in found.words if re.match(r"\w+=(?!#|data:)", word)]:
        yield f"a page links to {links[:3]!a}"
    yield from problems_of(page, terminal=False, several_lines=True)


Feed = Callable[[str], None]
