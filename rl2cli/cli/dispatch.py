"""From the words after `rl2` to the function of a command; imports Typer only where a command takes over."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rl2cli import command as process
from rl2cli.cli import startup
from rl2cli.cli.commands import COMMANDS, GROUPS, PLANNED, Command, overview
from rl2cli.cli.output import StdoutClosedError, abandon_stdout, be_lenient, emit, flush, flush_all, note
from rl2cli.errors import Interrupted, UsageError, suggestion

if TYPE_CHECKING:
    import typer

STDOUT_CLOSED = 128 + 13
"""Exit code where the reader of stdout has gone, as a shell reports SIGPIPE."""
INTERRUPTED = 130

_COMPLETION_VARIABLE = "_RL2_COMPLETE"
_COMPLETION_OPTIONS = ("--install-completion", "--show-completion")


def run(arguments: Sequence[str]) -> int:
    """Do what `arguments` say and return the exit code; every error is explained on stderr."""
    words = list(arguments)
    if words[:1] in (["train"], ["resume"]):
        startup.SIGNALS_AT_ONCE.begin()
    collects_garbage = gc.isenabled()
    startup.begin()
    be_lenient()
    own = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in own
    if debug:
        words.remove("--debug")
    process.begin(as_json="--json" in own)
    try:
        code = _command(words)
        flush()
    except StdoutClosedError:
        abandon_stdout()
        return STDOUT_CLOSED
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt)
    except Exception as error:  # the one place where an error becomes words and an exit code
        from rl2cli.cli.failure import report

        code = report(error, debug=debug, as_json="--json" in own)
        flush_all()
    finally:
        startup.SIGNALS_AT_ONCE.end()
        process.end()
        if collects_garbage:
            gc.enable()
    return code


def _interrupted(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code of a command that a signal ended, once it is said where that helps."""
    if not isinstance(interrupt, Interrupted):
        return INTERRUPTED
    note(interrupt.message)
    if interrupt.hint is not None:
        note("")
        note(f"hint: {interrupt.hint}")
    return 128 + interrupt.signal_number


def _command(words: list[str]) -> int:
    words = _joined(words)
    first = words[0] if words else "--help"
    if _COMPLETION_VARIABLE in os.environ or first in _COMPLETION_OPTIONS:
        return _completion(words)
    if first == "help" and len(words) > 1:
        return _invoke(_find(_joined(words[1:])[0]), ["--help"])
    if first in ("-h", "--help", "help"):
        emit(overview())
        return 0
    if first in ("-V", "--version"):
        from rl2cli import __version__

        emit(f"rl2 {__version__}")
        return 0
    return _invoke(_find(first), words[1:])


def _joined(words: list[str]) -> list[str]:
    """Return `words` with `register list` as the one word that its command is called.

    Raises:
        UsageError: There is no such command in the group.
    """
    if len(words) < 2 or words[0] not in GROUPS or words[1].startswith("-"):
        return words
    name = f"{words[0]}-{words[1]}"
    if name not in COMMANDS:
        inner = [each.partition("-")[2] for each in COMMANDS if each.startswith(f"{words[0]}-")]
        near = suggestion(words[1], inner) or f"there are: {', '.join(inner)}"
        raise UsageError(f"rl2 {words[0]} has no {words[1]!r}", hint=f"{near} As in: rl2 {words[0]} {inner[0]} NAME …")
    return [name, *words[2:]]


def _find(name: str) -> Command:
    if name in COMMANDS:
        return COMMANDS[name]
    if name in PLANNED:
        raise UsageError(f"the command {name!r} is not there yet", hint="`rl2 --help` lists those that are")
    kind = "option" if name.startswith("-") else "command"
    if name.endswith(".toml"):
        raise UsageError(f"unknown command {name!r}", hint=f"to train it: rl2 train {name}")
    raise UsageError(f"unknown {kind} {name!r}", hint=suggestion(name, COMMANDS) or "`rl2 --help` lists the commands")


def _invoke(command: Command, arguments: list[str]) -> int:
    """Parse `arguments` and call the command's function; what it returns is the exit code."""
    if len(arguments) in command.plain and not any(word.startswith("-") for word in arguments):
        return _call(command, arguments)
    import typer

    from rl2cli.cli.usage import explained

    app = _app()
    _add(app, command)
    parser = typer.main.get_command(app)
    try:
        with (
            explained(command.typed),
            parser.make_context(f"rl2 {command.typed}", list(arguments)) as context,
        ):
            context.obj = ["rl2", command.name, *arguments]
            return int(parser.invoke(context) or 0)
    except typer.Exit as done:
        return int(done.exit_code)


def _call(command: Command, words: list[str]) -> int:
    """Call the command's plain function with `words`: what Typer would do, a tenth of a second sooner."""
    function = _function(command.plain_target)
    record = {"command": ["rl2", command.name, *words]} if "command" in function.__annotations__ else {}
    return int(function(*words, **record) or 0)


def _function(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def _completion(words: list[str]) -> int:
    """Answer a shell that asks for completions, or install them; the only time when every command is imported."""
    app = _app(add_completion=True)
    groups = {name: _app() for name in GROUPS}
    for each in COMMANDS.values():
        group, _, rest = each.name.partition("-")
        if each.listed and each.name not in GROUPS:
            _add(app, each)
        if group in GROUPS and rest:
            _add(groups[group], each._replace(name=rest))
    for name, inner in groups.items():
        app.add_typer(inner, name=name)
    sys.argv[1:] = words
    app(prog_name="rl2")
    return 0


def _app(*, add_completion: bool = False) -> typer.Typer:
    import typer

    return typer.Typer(add_completion=add_completion, rich_markup_mode=None, pretty_exceptions_enable=False)


def _add(app: typer.Typer, command: Command) -> None:
    epilog = "\n".join(["Examples:\n\n\b", *command.examples]) if command.examples else None
    function = _function(command.target)
    _provide_names(function.__module__)
    app.command(command.name, epilog=epilog, context_settings={"help_option_names": ["-h", "--help"]})(function)


def _provide_names(module: str) -> None:
    """Give a command's module what only annotations in it name: Typer reads them, and nothing else needs it."""
    import typer

    from rl2cli.cli import parameters

    names = vars(sys.modules[module])
    for name, value in {"typer": typer, **vars(parameters)}.items():
        if name == "typer" or name[0].isupper():
            names.setdefault(name, value)
