import sys

import pytest
from rich.console import Console
from sample_run import EVALUATION, FACTS, PROGRESS, SUMMARY, Clock, GoneStream, Stream, terminal, with_hostile_text

from rl2cli.reporting.live import LiveView

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def test_a_whole_run(clock: Clock) -> None:
    stream = Stream()
    view = LiveView(stream, clock=clock, console=terminal(stream))
    view.start(FACTS)
    assert view.due()
    view.update(PROGRESS)
    assert not view.due()
    clock.now += 0.25
    assert view.due()
    view.evaluated(EVALUATION, PROGRESS)
    view.message("a note")
    view.stop(SUMMARY)
    text = stream.getvalue()
    assert "device cpu: no GPU was found" in text
    assert "a note" in text
    assert "rl2 infer outputs/cartpole/20261122T125501Z-s1\n" in text
    assert text.rindex("100 %") > text.index("20 %")
    assert text.index(HIDE_CURSOR) < text.rindex(SHOW_CURSOR)
    assert "\x1b[?1049h" not in text  # no alternate screen


def test_close_gives_the_terminal_back_after_an_exception(clock: Clock) -> None:
    stream = Stream()
    view = LiveView(stream, clock=clock, console=terminal(stream))
    stdout, stderr = sys.stdout, sys.stderr
    with pytest.raises(KeyboardInterrupt):
        _interrupted(view)
    assert stream.getvalue().count(SHOW_CURSOR) == 1
    assert (sys.stdout, sys.stderr) == (stdout, stderr)


def test_a_terminal_that_is_gone_does_not_end_the_run(clock: Clock) -> None:
    stream = GoneStream()
    view = LiveView(stream, clock=clock, console=terminal(stream))
    view.start(FACTS)
    view.update(PROGRESS)
    view.evaluated(EVALUATION, PROGRESS)
    view.message("a note")
    view.stop(SUMMARY)
    view.close()


def test_hostile_text_sends_no_control_codes(clock: Clock) -> None:
    facts, progress = with_hostile_text()
    stream = Stream()
    view = LiveView(stream, clock=clock, console=terminal(stream))
    view.start(facts)
    view.update(progress)
    view.message(facts.name)
    view.stop(SUMMARY)
    text = stream.getvalue()
    assert "[/][red]" in text
    for harmful in ("\x1b]0;", "\x07", "\u202e", "\x9b", "\x1b[31mb"):
        assert harmful not in text


@pytest.mark.parametrize("by_environment", [True, False])
def test_no_color(by_environment: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if by_environment:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = Stream(is_terminal=True)
    view = LiveView(stream, no_color=not by_environment)
    view.start(FACTS)
    view.update(PROGRESS)
    view.close()
    for colour in ("\x1b[32m", "\x1b[36m", "\x1b[1;32m"):
        assert colour not in stream.getvalue()
    assert "progress" in stream.getvalue()


def test_a_smaller_terminal_begins_on_a_clear_screen(clock: Clock) -> None:
    stream = Stream()
    console = terminal(stream, 120, 40)
    view = LiveView(stream, clock=clock, console=console)
    view.start(FACTS)
    view.update(PROGRESS)
    before = len(stream.getvalue())
    _resize(console, 60, 20)
    view.update(PROGRESS)
    after = stream.getvalue()[before:]
    assert "\x1b[2J\x1b[H" in after
    assert "training    ppo" in after
    view.close()


def test_a_larger_terminal_is_drawn_in_place(clock: Clock) -> None:
    stream = Stream()
    console = terminal(stream, 60, 20)
    view = LiveView(stream, clock=clock, console=console)
    view.start(FACTS)
    view.update(PROGRESS)
    _resize(console, 120, 40)
    view.update(PROGRESS)
    assert "\x1b[2J" not in stream.getvalue()
    view.close()


def test_ascii_terminal(clock: Clock) -> None:
    stream = Stream(encoding="ascii")
    view = LiveView(stream, clock=clock, console=terminal(stream))
    view.start(FACTS)
    view.update(PROGRESS)
    view.stop(SUMMARY)
    assert stream.getvalue().isascii()


def _resize(console: Console, width: int, height: int) -> None:
    console.width = width
    console.height = height


def _interrupted(view: LiveView) -> None:
    try:
        view.start(FACTS)
        raise KeyboardInterrupt
    finally:
        view.close()
        view.close()
