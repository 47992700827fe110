"""What happens around a command: help, version, bugs, interrupts, closed pipes."""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable
from pathlib import Path

import pytest
from command_runner import Ended, Rl2

from rl2cli import __version__, trust
from rl2cli.cli import output
from rl2cli.cli.commands import COMMANDS, overview
from rl2cli.errors import Stopped


@pytest.fixture
def list_does(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Puts a function in the place of `rl2 list`."""
    return lambda function: monkeypatch.setattr("rl2cli.cli.list.list_names", function)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_overview(rl2: Rl2, arguments: list[str]) -> None:
    assert rl2(*arguments) == Ended(0, overview() + "\n", "")


def test_overview_names_every_command() -> None:
    words = [line.split()[0] for line in overview().splitlines() if line.startswith("  ") and line.split()]
    assert {name for name, command in COMMANDS.items() if command.listed} <= set(words)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(rl2: Rl2, name: str) -> None:
    words = COMMANDS[name].typed.split()
    ended = rl2(*words, "--help")
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"Usage: rl2 {' '.join(words)} ")
    assert ended == rl2("help", *words) == rl2(name, "--help")


def test_train_help_has_examples(rl2: Rl2) -> None:
    assert "  rl2 train runs/cartpole.toml --seed 2 --set algorithm.learning_rate=3e-4\n" in rl2("train", "-h").stdout


def test_version(rl2: Rl2) -> None:
    assert rl2("--version") == Ended(0, f"rl2 {__version__}\n", "")


def test_a_bug_shows_its_traceback(rl2: Rl2, list_does: Callable[[Callable[[], None]], None]) -> None:
    def fail() -> None:
        raise LookupError("oh")

    list_does(fail)
    ended = rl2("list")
    assert (ended.code, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Traceback (most recent call last):\n")
    assert ended.stderr.splitlines()[-3:] == [
        "error: rl2 did not expect LookupError: oh",
        "",
        "hint: this is a bug in rl2; please report it with the lines above",
    ]


def test_a_granted_plugins_exception_shows_its_lines_alone(
    rl2: Rl2, list_does: Callable[[Callable[[], None]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "granted_plugin.py").write_text("def act():\n    return {}['policy']\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def fail() -> None:
        trust.allow_import(["granted_plugin"])
        __import__("granted_plugin").act()

    list_does(fail)
    ended = rl2("list")
    assert ended.code == 1
    assert ended.stderr == (
        "error: a plugin raised KeyError: 'policy'\n\n  granted_plugin.py:2 in act\n    return {}['policy']\n"
        "\nhint: the last of its lines above is where; --debug shows all\n"
    )


def test_a_full_disk_is_exit_code_5(rl2: Rl2, list_does: Callable[[Callable[[], None]], None]) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "outputs/run.json")

    list_does(fail)
    hint = "hint: free some space, or choose another disk; what was saved before is intact"
    assert rl2("list") == Ended(
        5, "", f"error: the disk refused: No space left on device\n  --> outputs/run.json\n\n{hint}\n"
    )


def test_a_run_that_was_stopped_is_no_error(rl2: Rl2, list_does: Callable[[Callable[[], None]], None]) -> None:
    def stop() -> None:
        raise Stopped("stopped by SIGTERM and saved", signal_number=15, hint="go on with: rl2 resume run")

    list_does(stop)
    assert rl2("list") == Ended(143, "", "stopped by SIGTERM and saved\n\nhint: go on with: rl2 resume run\n")


def test_interrupt_is_exit_code_130_without_words(rl2: Rl2, list_does: Callable[[Callable[[], None]], None]) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    list_does(fail)
    assert rl2("list") == Ended(130, "", "")


def test_closed_stdout_is_quiet(
    rl2: Rl2, list_does: Callable[[Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise output.StdoutClosedError

    monkeypatch.setattr("rl2cli.cli.dispatch.abandon_stdout", lambda: None)
    list_does(fail)
    assert rl2("list") == Ended(141, "", "")


def test_garbage_is_collected_again_afterwards(rl2: Rl2) -> None:
    rl2("list")
    assert gc.isenabled()


class Terminal:
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "colour"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
)
def test_colour(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], colour: bool) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr", Terminal())
    assert output.coloured("error:", output.RED) == ("\x1b[31;1merror:\x1b[0m" if colour else "error:")
