import subprocess
import sys

import pytest
from sample_run import Stream

from rl2cli.reporting.live import LiveView
from rl2cli.reporting.plain import PlainView, QuietView
from rl2cli.reporting.view import View, ViewMode, make_view


@pytest.mark.parametrize(
    ("mode", "is_terminal", "expected"),
    [
        ("auto", True, LiveView),
        ("auto", False, PlainView),
        ("live", True, LiveView),
        ("live", False, PlainView),
        ("plain", True, PlainView),
        ("json", True, PlainView),
        ("quiet", True, QuietView),
    ],
)
def test_make_view(mode: ViewMode, is_terminal: bool, expected: type[View]) -> None:
    assert type(make_view(mode, Stream(is_terminal=is_terminal))) is expected


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_view("auto", Stream(is_terminal=True))) is PlainView


def test_plain_imports_neither_rich_nor_torch_nor_tensorboard() -> None:
    program = (
        "import io, sys; from rl2cli.reporting.view import make_view; import rl2cli.reporting.tensorboard;"
        "make_view('plain', io.StringIO()); print({'rich', 'torch', 'numpy', 'tensorboard'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
