"""The form of help: each command and each option says in one sentence what happens."""

from __future__ import annotations

import re

import pytest
from typer.main import get_command

from rl2cli.cli.commands import COMMANDS, overview
from rl2cli.cli.dispatch import _add, _app


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_one_sentence(name: str) -> None:
    app = _app()
    _add(app, COMMANDS[name])
    command = get_command(app)
    first = (command.help or "").partition("\n\n")[0].replace("\n", " ")
    assert re.fullmatch(r"[A-Z][^.]*(\.\w[^.]*)*\.", first), first
    for parameter in command.params:
        text = getattr(parameter, "help", None)
        if text is None or getattr(parameter, "hidden", False) or parameter.name == "help":
            assert parameter.name == "help" or getattr(parameter, "hidden", False), f"{name}: {parameter.name}"
            continue
        assert text[0].isupper() or text.split()[0].rstrip(",") in ("auto", "best", "adapter", "rl2"), text
        assert text.endswith("."), text
        assert not re.search(r"\.\s+[A-Z]", text), f"two sentences: {text}"


def test_the_overview_fits_a_terminal_and_has_every_command_once() -> None:
    lines = overview().splitlines()
    assert max(map(len, lines)) <= 80
    for command in COMMANDS.values():
        starts = [line for line in lines if line.startswith(f"  {command.name} ")]
        assert len(starts) == (1 if command.listed else 0), command.name
        assert not command.summary.endswith(".")
