"""From the words after `rl2` to the function of a command; imports Typer only where a command takes over."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rl2cli import command as process
from rl2cli.cli import completion, startup
from rl2cli.cli.commands import COMMANDS, GROUPS, Command, overview
from rl2cli.cli.output import StdoutClosedError, abandon_stdout, be_lenient, emit, flush, flush_all, note
from rl2cli.errors import Interrupted, UsageError, suggestion

if TYPE_CHECKING:
    import typer

STDOUT_CLOSED = 128 + 13
"""Exit code where the reader of stdout has gone, as a shell reports SIGPIPE."""
INTERRUPTED = 130

_COMPLETION_OPTIONS = ("--install-completion", "--show-completion")


def run(arguments: Sequence[str]) -> int:
    """Do what `arguments` say and return the exit code; every error is explained on stderr."""
    words = list(arguments)
    is_follower = os.environ.get("RANK", "0") != "0"  # of several learners; it leaves signals to the first
    if words[:1] in (["train"], ["resume"]) and not is_follower:
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
    if completion.VARIABLE in os.environ or words[:1] in ([option] for option in _COMPLETION_OPTIONS):
        return _completion(words)
    words = _joined(words)
    first = words[0] if words else "--help"
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

    parser = typer.main.get_command(typer_app(command))
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
    """Answer a shell that asks for completions, or print or install the script with which it does."""
    shell = os.environ.get(completion.VARIABLE)
    if shell is not None:
        print(completion.answer(shell, words))  # of names that hold nothing but printable characters
        return 0
    from rl2cli.cli import completion_scripts

    if len(words) > 2:
        raise UsageError(f"{words[0]} takes the name of a shell alone", hint=f"as in: rl2 {words[0]} bash")
    act = completion_scripts.install if words[0] == "--install-completion" else completion_scripts.show
    act(words[1] if len(words) > 1 else None)
    return 0


def typer_app(command: Command) -> typer.Typer:
    """Return an application of one command, which imports its module."""
    app = _app()
    _add(app, command)
    return app


def _app() -> typer.Typer:
    import typer

    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


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
