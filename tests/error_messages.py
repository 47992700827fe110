"""Every error that rl2 has words for, as it is written: `python tests/error_messages.py > tests/errors.txt`.

`{…}` stands for what is filled in. Whoever changes a message looks at all of them: do they say what is wrong, where,
and what would be right?
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[1] / "rl2cli"
WORDED = {"RL2Error", "Refused", "Finding", "Misfit"}
"""Classes whose objects are explained to the user; those derived from them are found."""
HINTS = {"Finding": 2, "Misfit": 2, "Refused": 1}
"""Where a hint stands if it has no name; the message of a finding or misfit comes behind its key."""


class Message(NamedTuple):
    """One place in the code where a user is told something."""

    file: str
    function: str
    kind: str
    message: str
    hint: str
    place: str

    @property
    def text(self) -> str:
        """What the snapshot has of it."""
        lines = [f"{self.file} {self.function}: {self.kind}", f"  error: {self.message}"]
        lines += [f"  --> {self.place}"] if self.place else []
        lines += [f"  hint: {self.hint}"] if self.hint else []
        return "\n".join(lines)


def messages() -> list[Message]:
    """Return all of them, in the order of files and lines."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    kinds = _kinds(list(trees.values()))
    return [found for path, tree in trees.items() for found in _of_file(path, tree, kinds)]


def snapshot() -> str:
    """Return the text of `tests/errors.txt`."""
    return "\n\n".join(message.text for message in messages()) + "\n"


def _kinds(trees: list[ast.Module]) -> set[str]:
    kinds = set(WORDED)
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while True:
        found = {
            node.name for node in classes for base in node.bases if isinstance(base, ast.Name) and base.id in kinds
        }
        if found <= kinds:
            return kinds
        kinds |= found


def _of_file(path: Path, tree: ast.Module, kinds: set[str]) -> Iterator[Message]:
    name = path.relative_to(PACKAGE).as_posix()
    for function, call in _calls(tree, "module"):
        kind = call.func.id if isinstance(call.func, ast.Name) else ""
        if kind not in kinds or not call.args:
            continue
        named = {each.arg: each.value for each in call.keywords if each.arg}
        position = 1 if kind in ("Finding", "Misfit") else 0
        at = HINTS.get(kind, -1)
        hint = named.get("hint") or (call.args[at] if 0 <= at < len(call.args) else None)
        place = named.get("place") or (call.args[0] if position else None)
        if len(call.args) > position:
            yield Message(name, function, kind, _words(call.args[position]), _words(hint), _words(place))


def _calls(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        if isinstance(child, ast.Call):
            yield inside, child
        yield from _calls(child, inside)


def _words(node: ast.expr | None) -> str:
    """Return a message with `{…}` where something is filled in; empty for None."""
    if node is None or (isinstance(node, ast.Constant) and node.value is None):
        return ""
    if isinstance(node, ast.Constant):
        return str(node.value).replace("\n", "\\n")
    if isinstance(node, ast.JoinedStr):
        return "".join(_words(part) if isinstance(part, ast.Constant) else _filled(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _words(node.left) + _words(node.right)
    return f"{{{ast.unparse(node)}}}"


def _filled(part: ast.expr) -> str:
    return f"{{{ast.unparse(part.value)}}}" if isinstance(part, ast.FormattedValue) else ast.unparse(part)


if __name__ == "__main__":
    print(snapshot(), end="")
