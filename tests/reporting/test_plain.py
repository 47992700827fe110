import dataclasses

import pytest
from sample_run import EVALUATION, FACTS, PROGRESS, REPLAY, SUMMARY, Clock, GoneStream, Stream, with_hostile_text

from rl2cli.reporting.plain import PlainView, QuietView


def test_the_line_of_progress() -> None:
    stream = Stream()
    PlainView(stream).update(PROGRESS)
    assert stream.getvalue() == (
        "frames 102,400 / 500,000  20 %  81,200 frames/s  eta 5 s  return 183.2  length 183.2"
        "  evaluation 475.0 ± 3.1 (20)\n"
    )


def test_a_replay_buffer_is_shown() -> None:
    stream = Stream()
    PlainView(stream).update(dataclasses.replace(PROGRESS, metrics=REPLAY))
    assert stream.getvalue().endswith(" (20)  replay 12,400 of 50,000 (24 %), 1.00 updates per frame\n")


def test_the_line_before_anything_is_measured() -> None:
    stream = Stream()
    progress = dataclasses.replace(PROGRESS, eta_seconds=None, return_mean=None, length_mean=None, evaluation=None)
    PlainView(stream).update(progress)
    assert stream.getvalue() == "frames 102,400 / 500,000  20 %  81,200 frames/s\n"


def test_an_evaluation_has_its_own_line() -> None:
    stream = Stream()
    PlainView(stream).evaluated(EVALUATION, PROGRESS)
    assert stream.getvalue() == ("evaluation at 98,304  475.0 ± 3.1 (20 episodes), stochastic 450.2, best so far\n")


def test_first_after_two_seconds_then_every_five(clock: Clock) -> None:
    view = PlainView(Stream(), clock=clock)
    view.start(FACTS)
    due_at = []
    for tenth in range(1, 130):
        clock.now = 100 + tenth / 10
        if view.due():
            due_at.append(tenth)
            view.update(PROGRESS)
    assert due_at == [20, 70, 120]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_no_control_codes(encoding: str) -> None:
    facts, progress = with_hostile_text()
    stream = Stream(encoding=encoding)
    view = PlainView(stream)
    view.start(facts)
    view.update(progress)
    view.evaluated(EVALUATION, progress)
    view.message(facts.name, warning=True)
    view.stop(dataclasses.replace(SUMMARY, run_dir=facts.run_dir))
    view.close()
    text = stream.getvalue()
    assert all(line.isprintable() for line in text.split("\n"))
    assert encoding == "utf-8" or text.isascii()
    assert "[/][red]" in text


def test_quiet_says_only_warnings() -> None:
    stream = Stream()
    view = QuietView(stream)
    view.start(FACTS)
    assert not view.due()
    view.update(PROGRESS)
    view.evaluated(EVALUATION, PROGRESS)
    view.message("a note")
    view.message("the disk is nearly full", warning=True)
    view.stop(SUMMARY)
    view.close()
    assert stream.getvalue() == "warning: the disk is nearly full\n"


def test_a_reader_that_is_gone_does_not_end_the_run() -> None:
    view = PlainView(GoneStream())
    view.start(FACTS)
    view.update(PROGRESS)
    view.stop(SUMMARY)
