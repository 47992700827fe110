"""What may stand where the cursor is on a command line; asked by the shell on every Tab, so it imports little.

The scripts of `completion_scripts` call `rl2` with the shell's name in `_RL2_COMPLETE` and the words of the line, those
before the cursor and the one it is in, as arguments. A candidate is a line of the answer, with a tab and a sentence
behind it for shells that show one. Files are listed here too, so that every shell offers the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rl2cli.cli.commands import COMMANDS, GROUPS, Command
from rl2cli.text import printable

if TYPE_CHECKING:
    from rl2cli.cli.completion_values import Line

VARIABLE = "_RL2_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
EVERYWHERE = (("--help", "Show the help of this command"), ("--debug", "Show a traceback with every error"))
_ALONE = (
    ("--help", "List the commands"),
    ("--version", "Print the version"),
    ("--install-completion", "Make this shell complete rl2's commands and options"),
    ("--show-completion", "Print the script that does it"),
)
_BASH_SPECIAL = re.compile(r"""([\s"'\\$`!&|;<>()\[\]{}*?#~])""")
_TOKEN = re.compile(
    r"(?P<space>\s+)|\\(?P<escaped>.?)|'(?P<single>[^']*)(?P<end_single>'?)"
    r'|"(?P<double>(?:[^"\\]|\\.)*)(?P<end_double>"?)|(?P<plain>[^\s\'"\\]+)',
    re.DOTALL,
)


class Candidate(NamedTuple):
    """Something that may stand there."""

    value: str
    summary: str = ""


def answer(shell: str, words: Sequence[str]) -> str:
    """Return the answer to a shell whose line, without the program, has `words`; the cursor is in the last.

    Of bash it is the line itself, as far as the cursor: its own words end at `=` and `:`.
    """
    if shell == "bash":
        return _for_bash(words[0] if words else "")
    found = complete(list(words))
    return "\n".join(_line(each) for each in found)


def complete(words: list[str]) -> list[Candidate]:
    """Return what may stand in place of the last of `words`, and begins like it."""
    incomplete = words[-1] if words else ""
    found = _candidates(words[:-1], incomplete)
    unique = {each.value: each for each in found if each.value.startswith(incomplete)}
    return [each for each in unique.values() if each.value.isprintable()]


def _line(candidate: Candidate) -> str:
    summary = printable(candidate.summary)
    return f"{candidate.value}\t{summary}" if summary else candidate.value


def _for_bash(line: str) -> str:
    """Return the candidates for bash, of which it wants what comes behind the last `=` or `:`, or an open quote."""
    words, quote, cut = split_line(line)
    if not quote:
        breaks = set("=:") & set(os.environ.get("COMP_WORDBREAKS", "=:"))
        cut = max((words[-1].rfind(each) + 1 for each in breaks), default=0)
    return "\n".join(_escaped(each.value[cut:], quote) for each in complete(words[1:]))


def _escaped(text: str, quote: str) -> str:
    """Return text as it is typed inside the quotes that are open, or outside of any."""
    if quote == "'":
        return text
    return re.sub(r'(["$`\\])' if quote else _BASH_SPECIAL, r"\\\1", text)


def split_line(line: str) -> tuple[list[str], str, int]:
    """Return a line's words as the shell reads them, the quote that is open at its end, and where in the last word."""
    words, current, begun = [], "", False
    quote, opened = "", 0
    for token in _TOKEN.finditer(line):
        if token["space"]:
            words += [current] if begun else []
            current, begun = "", False
            continue
        begun, inside = True, token["single"] if token["double"] is None else token["double"]
        if inside is not None and not token["end_single"] and not token["end_double"]:
            quote, opened = token[0][0], len(current)
        if token["double"] is not None:
            inside = re.sub(r'\\(["$`\\])', r"\1", token["double"])
        current += inside or token["plain"] or token["escaped"] or ""
    return [*words, current], quote, opened


def _candidates(before: list[str], incomplete: str) -> Iterable[Candidate]:
    own = [word for word in before if word != "--debug"]
    if own[:1] == ["help"]:
        own = own[1:]
    if not own:
        return _commands() if not incomplete.startswith("-") else [Candidate(*each) for each in _ALONE]
    if own[0] in ("--install-completion", "--show-completion"):
        return map(Candidate, SHELLS)
    if own[0] in GROUPS:
        if len(own) == 1 and not incomplete.startswith("-"):
            return _inner_commands(own[0])
        own = [f"{own[0]}-{own[1]}", *own[2:]] if len(own) > 1 and not own[1].startswith("-") else own
    command = COMMANDS.get(own[0])
    return [] if command is None else _of_command(command, own[1:], incomplete)


def _commands() -> Iterable[Candidate]:
    return [Candidate(each.name, each.summary) for each in COMMANDS.values() if each.listed]


def _inner_commands(group: str) -> Iterable[Candidate]:
    inner = [each for each in COMMANDS.values() if each.name.startswith(f"{group}-")]
    return [Candidate(each.name.partition("-")[2], each.summary) for each in inner]


def _of_command(command: Command, before: list[str], incomplete: str) -> Iterable[Candidate]:
    from rl2cli.cli.completion_values import values

    parameters = _parameters(command)
    line = _parsed(command, parameters, before)
    if line.waiting is not None:
        return values(line, line.waiting, incomplete)
    option, equals, value = incomplete.partition("=")
    if equals and option.startswith("--"):
        found = [each for each in parameters if option in each.opts]
        return [
            Candidate(f"{option}={each.value}", each.summary) for each in values(line, found[0].name, value) if found
        ]
    if incomplete.startswith("-") and not line.only_arguments:
        return _options(parameters, line)
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    position = len(line.arguments)
    if position >= len(arguments):
        arguments, position = [each for each in arguments if each.nargs == -1], 0
    return values(line, arguments[position].name, incomplete) if arguments else []


def _options(parameters: Sequence[Any], line: Line) -> Iterable[Candidate]:
    for each in parameters:
        again = getattr(each, "multiple", False) or each.name not in line.options
        if each.param_type_name == "option" and again and not each.hidden and each.name != "help":
            yield Candidate(max(each.opts, key=len), each.help or "")
    yield from (Candidate(*each) for each in EVERYWHERE)


def _parameters(command: Command) -> Sequence[Any]:
    from typer.main import get_command

    from rl2cli.cli.dispatch import typer_app

    found: Sequence[Any] = get_command(typer_app(command)).params
    return found


def _parsed(command: Command, parameters: Sequence[Any], before: list[str]) -> Line:
    """Return what the words before the cursor's say, as far as they can be understood."""
    from rl2cli.cli.completion_values import Line

    by_option = {option: each for each in parameters for option in each.opts if each.param_type_name == "option"}
    line = Line(command.name)
    for word in before:
        option, equals, value = word.partition("=")
        if line.waiting is not None:
            line.options.setdefault(line.waiting, []).append(word)
            line.waiting = None
        elif word == "--" and not line.only_arguments:
            line.only_arguments = True
        elif line.only_arguments or not word.startswith("-") or word == "-":
            line.arguments.append(word)
        elif option in by_option:
            given = by_option[option]
            if given.is_flag or equals:
                line.options.setdefault(given.name, []).append(value)
            else:
                line.waiting = given.name
    return line
