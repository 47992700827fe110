"""Where each key and value of a valid TOML document stands. Linear in the length of the document."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import tomli

Path = tuple[str | int, ...]
"""Keys and array indices from the root down, such as `("env", "kwargs", 0)`."""

_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_BLANK_OR_COMMA = re.compile(r"(?:[ \t\r\n,]++|#[^\n]*+)*+")
_SPACE = re.compile(r"[ \t]*+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]++")
_BASIC_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_LITERAL_STRING = re.compile(r"'[^']*+'")
_LONG_BASIC_STRING = re.compile(r'"""(?:[^"\\]++|\\.|"(?!""))*+"{3,5}', re.DOTALL)
_LONG_LITERAL_STRING = re.compile(r"'''(?:[^']++|'(?!''))*+'{3,5}")
_ATOM = re.compile(r"[^,\]}#\r\n]++")


class Span(NamedTuple):
    """A stretch of one line; columns are 1-based and count characters."""

    line: int
    column: int
    end_column: int
    """Column behind the last character; of a value over several lines, the end of its first line."""


@dataclass
class Node:
    """One key, array item or table: offsets of its key and value, and what it holds."""

    key: tuple[int, int] | None = None
    value: tuple[int, int] | None = None
    is_table_array: bool = False
    children: dict[str | int, Node] = field(default_factory=dict)

    def child(self, name: str | int) -> Node:
        """Return the child called `name`, made where there is none."""
        return self.children.setdefault(name, Node())


class Locations:
    """Key paths of `text`, a document that tomli accepts, and where they stand."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = _Scanner(text).scan()
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def key(self, path: Sequence[str | int]) -> Span | None:
        """Return where the last key of `path` stands: for a table its header, for an array item the item."""
        node = self._find(path)
        if node is None or node.key is None:
            return self.value(path)
        return self.span(*node.key)

    def value(self, path: Sequence[str | int]) -> Span | None:
        """Return where the value of `path` stands, or None for a table under a header."""
        node = self._find(path)
        return None if node is None or node.value is None else self.span(*node.value)

    def span(self, start: int, end: int) -> Span:
        """Return the place of the characters from offset `start` up to offset `end`, cut at the end of the line."""
        line = bisect_right(self._line_starts, start)
        line_start = self._line_starts[line - 1]
        newline = self.text.find("\n", start, end)
        end = end if newline < 0 else newline
        return Span(line, start - line_start + 1, end - line_start + 1)

    def only_key(self) -> Path | None:
        """Return the dotted key of a document that is nothing but one `key = value`, else None."""
        node, path = self.root, []
        while node.value is None:
            if len(node.children) != 1:
                return None
            [(name, node)] = node.children.items()
            path.append(name)
        return tuple(path)

    def _find(self, path: Sequence[str | int]) -> Node | None:
        node: Node | None = self.root
        for name in path:
            node = None if node is None else node.children.get(name)
        return node


class _Scanner:
    """Reads a document that is known to be valid, so it checks nothing."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.root = Node()

    def scan(self) -> Node:
        table = self.root
        self._skip(_BLANK)
        while self.position < len(self.text):
            table = self._header() if self.text[self.position] == "[" else self._pair(table)
            self._skip(_BLANK)
        return self.root

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        assert match is not None, "the document was valid"
        self.position = match.end()
        return match.group()

    def _header(self) -> Node:
        """Read `[a.b]` or `[[a.b]]` and return the table that the following keys belong to."""
        is_array = self.text.startswith("[[", self.position)
        self.position += 1 + is_array
        node, span = self._key(self.root)
        self.position += 1 + is_array
        node.key = node.key if is_array and node.key else span
        if is_array:
            node.is_table_array = True
            node = node.child(len(node.children))
            node.key = span
        return node

    def _pair(self, table: Node) -> Node:
        node, _ = self._key(table)
        self.position += 1  # the equals sign
        self._skip(_SPACE)
        self._value(node)
        return table

    def _key(self, table: Node) -> tuple[Node, tuple[int, int]]:
        """Read a dotted key below `table`; return its last part's node and offsets."""
        node = table
        while True:
            self._skip(_SPACE)
            start = self.position
            name = self._key_part()
            span = (start, self.position)
            node = node.children[len(node.children) - 1] if node.is_table_array else node
            node = node.child(name)
            node.key = node.key or span
            self._skip(_SPACE)
            if not self.text.startswith(".", self.position):
                return node, span
            self.position += 1

    def _key_part(self) -> str:
        quote = self.text[self.position]
        if quote == "'":
            return self._skip(_LITERAL_STRING)[1:-1]
        if quote == '"':
            raw = self._skip(_BASIC_STRING)
            return str(tomli.loads(f"key = {raw}")["key"]) if "\\" in raw else raw[1:-1]
        return self._skip(_BARE_KEY)

    def _value(self, node: Node | None) -> None:
        """Read a value and everything in it; a loop, so that no nesting is too deep for it."""
        containers: list[tuple[Node, int]] = []
        while node is not None:
            start = self.position
            if self.text[start] in "[{":
                self.position += 1
                containers.append((node, start))
            else:
                self._scalar()
                node.value = (start, self.position)
            node = self._next_item(containers)

    def _next_item(self, containers: list[tuple[Node, int]]) -> Node | None:
        """Close the arrays and inline tables that end here; return the next item's node, None behind the outermost."""
        while containers:
            self._skip(_BLANK_OR_COMMA)
            container, start = containers[-1]
            if self.text[self.position] in "]}":
                self.position += 1
                container.value = (start, self.position)
                containers.pop()
            elif self.text[start] == "[":
                return container.child(len(container.children))
            else:
                node, _ = self._key(container)
                self.position += 1  # the equals sign
                self._skip(_SPACE)
                return node
        return None

    def _scalar(self) -> None:
        for start, pattern in (
            ('"""', _LONG_BASIC_STRING),
            ("'''", _LONG_LITERAL_STRING),
            ('"', _BASIC_STRING),
            ("'", _LITERAL_STRING),
        ):
            if self.text.startswith(start, self.position):
                self._skip(pattern)
                return
        atom = self._skip(_ATOM)
        self.position -= len(atom) - len(atom.rstrip())
