"""Every error that rl2 has words for, as it is written: `python tests/error_messages.py > tests/errors.txt`.

`{…}` stands for what is filled in. What a name, a parameter or a function of the same file stands for is looked up: of
several texts, each has its line, `or:`. Whoever changes a message looks at all of them: do they say what is wrong,
where, and what would be right?
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[1] / "rl2cli"
WORDED = {"RL2Error", "Refused", "Finding", "Misfit", "Interrupted", "Problem", "problem"}
"""Classes whose objects are explained to the user, and the method that makes one; derived classes are found."""
HINTS = {"Finding": 2, "Misfit": 2, "Refused": 1, "Problem": 1}
"""Where a hint stands if it has no name; the message of a finding or misfit comes behind its key."""
NOTHING = "(none)"
"""A hint that is left out in some cases, among others that are there."""
DEEPEST = 4

Function = ast.FunctionDef | ast.AsyncFunctionDef
Texts = tuple[str, ...]


class Message(NamedTuple):
    """One place in the code where a user is told something; each part has all texts that it may be."""

    file: str
    function: str
    kind: str
    message: Texts
    hint: Texts
    place: Texts

    @property
    def text(self) -> str:
        """What the snapshot has of it."""
        parts = [("error", self.message), ("-->", self.place), ("hint", self.hint)]
        lines = [f"{self.file} {self.function}: {self.kind}"]
        for name, texts in parts:
            mark = name if name == "-->" else f"{name}:"
            lines += [f"  {mark} {text}" if not number else f"    or: {text}" for number, text in enumerate(texts)]
        return "\n".join(lines)


@functools.cache
def messages() -> list[Message]:
    """Return all of them, in the order of files and lines."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    kinds = _kinds(list(trees.values()))
    constants = {_module(path): _constants(tree) for path, tree in trees.items()}
    return [found for path, tree in trees.items() for found in _of_file(path, tree, kinds, constants)]


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
            return kinds - {"SpecError"}  # holds problems, which are found by themselves
        kinds |= found


def _module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Return what a module's names stand for that are assigned once, outside of functions."""
    return {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def _of_file(
    path: Path, tree: ast.Module, kinds: set[str], constants: dict[str, dict[str, ast.expr]]
) -> Iterator[Message]:
    file = _File(tree, _known(tree, constants[_module(path)], constants))
    for function, call in file.calls:
        kind, file_name = _called(call), path.relative_to(PACKAGE).as_posix()
        position = 1 if kind in ("Finding", "Misfit") else 0
        if kind not in kinds or len(call.args) <= position or (kind == "problem" and not file_name.startswith("spec/")):
            continue
        named = {each.arg: each.value for each in call.keywords if each.arg}
        at = HINTS.get(kind, -1)
        hint = named.get("hint") or (call.args[at] if 0 <= at < len(call.args) else None)
        place = named.get("place") or (call.args[0] if position else None)
        name = function.name if function else "module"
        parts = [file.texts(each, function) for each in (call.args[position], hint, place)]
        if parts[0] != ["{finding.message}"]:  # has been met where it was found
            yield Message(file_name, name, kind, *(tuple(part) for part in parts))


def _known(
    tree: ast.Module, own: dict[str, ast.expr], constants: dict[str, dict[str, ast.expr]]
) -> dict[str, ast.expr]:
    """Return the constants of a file, those that it imports from rl2 included."""
    found = dict(own)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in constants:
            there = constants[node.module]
            found |= {each.name: there[each.name] for each in node.names if each.name in there}
    return found


def _called(call: ast.Call) -> str:
    """Return the name of what is called, of a method without its object."""
    func = call.func
    return func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""


class _File:
    """What the names in one file stand for."""

    def __init__(self, tree: ast.Module, constants: dict[str, ast.expr]) -> None:
        self.constants = constants
        self.calls = list(_calls(tree, None))
        self.functions: dict[str, Function] = {
            node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }

    def texts(self, node: ast.expr | None, function: Function | None) -> list[str]:
        """Return everything that `node` may be in `function`, in the order of the lines; empty for None."""
        found = list(dict.fromkeys(self._texts(node, function, 0)))
        return [] if found in ([], [""]) else [text or NOTHING for text in found]

    def _texts(self, node: ast.expr | None, function: Function | None, depth: int) -> Iterator[str]:
        if isinstance(node, ast.IfExp):
            yield from self._texts(node.body, function, depth)
            yield from self._texts(node.orelse, function, depth)
        elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            for value in node.values:
                yield from (text for text in self._texts(value, function, depth) if text or value is node.values[-1])
        elif depth < DEEPEST and (inner := list(self._meanings(node, function))):
            for value, inside in inner:
                yield from self._texts(value, inside, depth + 1)
        else:
            yield self._words(node, function)

    def _meanings(
        self, node: ast.expr | None, function: Function | None
    ) -> Iterator[tuple[ast.expr | None, Function | None]]:
        """Yield what a name or a call of a function of this file stands for, and where that is written."""
        if isinstance(node, ast.Name):
            assigned, certain = _reaching(node.id, function.body, node.lineno) if function else ([], False)
            given = list(self._given(node.id, function)) if function and not certain else []
            known = self.constants.get(node.id)
            yield from [*((value, function) for value in assigned), *given] or ([(known, None)] if known else [])
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            table = self.constants.get(node.value.id)
            yield from ((value, None) for value in table.values) if isinstance(table, ast.Dict) else ()
        elif isinstance(node, ast.Call) and _called(node) in self.functions and not _is_foreign(node):
            inside = self.functions[_called(node)]
            returned = [each for each in ast.walk(inside) if isinstance(each, ast.Return)]
            yield from ((each.value, inside) for each in returned)

    def _given(self, name: str, function: Function) -> Iterator[tuple[ast.expr | None, Function | None]]:
        """Yield what the callers of `function` in this file give as its parameter `name`."""
        arguments = function.args
        positional = [each.arg for each in [*arguments.posonlyargs, *arguments.args] if each.arg not in ("self", "cls")]
        defaults: dict[str, ast.expr | None] = dict(
            zip(reversed(positional), reversed(arguments.defaults), strict=False)
        )
        defaults |= {each.arg: value for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)}
        if name not in positional and name not in defaults:
            return
        for caller, call in self.calls:
            if _called(call) != function.name or _is_foreign(call) or caller is function:
                continue
            named = {each.arg: each.value for each in call.keywords}
            at = positional.index(name) if name in positional else len(call.args)
            value = named.get(name) or (call.args[at] if at < len(call.args) else defaults.get(name))
            yield value, caller

    def _words(self, node: ast.expr | None, function: Function | None) -> str:
        """Return a message with `{…}` where something is filled in; empty for None."""
        if node is None or (isinstance(node, ast.Constant) and node.value is None):
            return ""
        if isinstance(node, ast.Constant):
            return str(node.value).replace("\n", "\\n")
        if isinstance(node, ast.JoinedStr):
            return "".join(self._part(part, function) for part in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._words(node.left, function) + self._words(node.right, function)
        return f"{{{ast.unparse(node)}}}"

    def _part(self, part: ast.expr, function: Function | None) -> str:
        """Return a part of an f-string: the text of a constant of rl2's, else `{…}`."""
        if not isinstance(part, ast.FormattedValue):
            return self._words(part, function)
        known = self.constants.get(part.value.id) if isinstance(part.value, ast.Name) else None
        is_text = isinstance(known, ast.Constant) and isinstance(known.value, str)
        return self._words(known, None) if is_text else f"{{{ast.unparse(part.value)}}}"


def _calls(node: ast.AST, function: Function | None) -> Iterator[tuple[Function | None, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inside = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(child, ast.Call):
            yield inside, child
        yield from _calls(child, inside)


def _reaching(name: str, body: list[ast.stmt], line: int) -> tuple[list[ast.expr], bool]:
    """Return the values that `name` may have at `line`, the newest first, and whether it has no other one.

    Loops are read once, from top to bottom.
    """
    found: list[ast.expr] = []
    for statement in reversed([each for each in body if each.lineno <= line]):
        if _value(statement, name) is not None and (statement.end_lineno or line) < line:
            return [*found, *filter(None, [_value(statement, name)])], True
        is_target = isinstance(statement, ast.For) and name in {
            each.id for each in ast.walk(statement.target) if isinstance(each, ast.Name)
        }
        for block in _blocks(statement):
            is_before = block[-1].end_lineno is not None and block[-1].end_lineno < line
            if is_before and (statement.end_lineno or line) >= line and not isinstance(statement, ast.Try):
                continue  # another branch than that of the line
            values, certain = _reaching(name, block, line)
            found += values
            if (certain or is_target) and not is_before:
                return found, True
    return found, False


def _value(statement: ast.stmt, name: str) -> ast.expr | None:
    """Return what a statement assigns to `name` alone, but for what is made from itself."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
        return None
    names = {each.id for each in ast.walk(statement.value) if isinstance(each, ast.Name)}
    return statement.value if statement.targets[0].id == name and name not in names else None


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the blocks inside a statement."""
    for name in ("body", "orelse", "finalbody"):
        if block := getattr(statement, name, None):
            yield block
    for handler in getattr(statement, "handlers", []):
        yield handler.body


def _is_foreign(call: ast.Call) -> bool:
    """Return whether a method of another object than `self` is called, which may be of another file."""
    return isinstance(call.func, ast.Attribute) and not (
        isinstance(call.func.value, ast.Name) and call.func.value.id in ("self", "cls")
    )


if __name__ == "__main__":
    print(snapshot(), end="")
