"""Typer's complaints about arguments, in rl2's words and independent of Typer's version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rl2cli.errors import UsageError, suggestion


@contextmanager
def explained(command: str) -> Iterator[None]:
    """Turn Typer's usage errors inside the block into rl2's.

    Raises:
        UsageError: the arguments are wrong; the hint has the nearest option, or where the right ones are listed.
    """
    try:
        yield
    except Exception as error:
        if not hasattr(error, "format_message"):  # the one mark that usage errors of every version of Typer share
            raise
        raise _translated(error, command) from None


def _translated(error: Any, command: str) -> UsageError:
    hint = f"`rl2 {command} --help` lists what it takes"
    kind = type(error).__name__
    if kind == "NoSuchOption":
        name = str(error.option_name)
        return UsageError(f"unknown option {name!r}", hint=suggestion(name, _options(error)) or hint)
    if kind == "MissingParameter" and error.param is not None:
        return UsageError(f"{_shown(error.param)} is missing", hint=hint)
    if kind == "BadOptionUsage":
        return UsageError(_as_phrase(error.message), hint=hint)
    if getattr(error, "param", None) is not None:
        return UsageError(f"{_shown(error.param)}: {_as_phrase(error.message)}", hint=hint)
    return UsageError(_as_phrase(error.format_message()), hint=hint)


def _options(error: Any) -> list[str]:
    context = error.ctx
    parameters = context.command.get_params(context) if context is not None else []
    return [option for parameter in parameters if not getattr(parameter, "hidden", False) for option in parameter.opts]


def _shown(parameter: Any) -> str:
    """Return what the help calls a parameter: `SPEC`, `--seed`."""
    long = [option for option in parameter.opts if option.startswith("--")]
    return long[0] if long else str(parameter.metavar or parameter.name).strip("[]")


def _as_phrase(message: str) -> str:
    """Return a sentence of Typer's as the words after `error:`."""
    return (message[:1].lower() + message[1:]).rstrip(".")
