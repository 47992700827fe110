import dataclasses
import re
import unicodedata

import pytest
from rich.cells import cell_len
from sample_run import FACTS, HOSTILE, PROGRESS, REPLAY, Stream, terminal, with_hostile_text

from rl2cli.reporting.board import Board
from rl2cli.reporting.figures import ASCII, UNICODE, Glyphs
from rl2cli.reporting.progress import Progress, RunFacts, WorkerRow


def drawn(
    progress: Progress | None = PROGRESS,
    width: int = 80,
    height: int = 24,
    facts: RunFacts = FACTS,
    glyphs: Glyphs = UNICODE,
) -> list[str]:
    stream = Stream()
    console = terminal(stream, width, height)
    console.no_color = True
    console.print(Board(facts, glyphs, width, height).draw(progress, (100.0, 300.0, 475.0)))
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()


def test_at_80_columns() -> None:
    assert drawn() == [
        "╭─ cartpole · ppo · CartPole-v1 × 64 · cpu · mlp ──────────────────────────────╮",
        "│ progress    ━━━━━━━━━━━───────────────────────────────────────────────  20 % │",
        "│ frames      102,400 / 500,000    eta 5 s              elapsed 12 s           │",
        "│ speed       now 81,200 frames/s  mean 79,800                                 │",
        "│ return      mean 183.2           best 200.0   ▁▂▃▄▅▆▇█                       │",
        "│ episodes    1,234                mean length 183.2                           │",
        "│ evaluation  475.0 ± 3.1          20 episodes          at 98,304   ▁▅█        │",
        "│             stochastic 450.2     best 475.0           at 98,304              │",
        "│                                                                              │",
        "│ loss        policy              -0.01234   value                  12.30      │",
        "│ policy      explained_variance    0.9000                                     │",
        "│ metrics     learning_rate       2.50e-04                                     │",
        "│                                                                              │",
        "│ time        ████████████████████▓▓▓▓▓▓▓▓▓▓▓▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒░░░░ │",
        "│             █ environment 31%  ▓ policy 18%  ▒ learning 44%  ░ other 7%      │",
        "│ checkpoint  98,304 frames                                                    │",
        "╰──────────────────────────────────────────────────────────────────────────────╯",
    ]


def test_frames_of_the_simulator_are_shown_where_they_are_others() -> None:
    line = drawn(facts=dataclasses.replace(FACTS, frame_skip=4))[3]
    assert line == "│ speed       now 81,200 frames/s  mean 79,800          simulated 409,600      │"


def test_every_worker_has_a_row_and_those_that_are_too_many_have_one_together() -> None:
    rows = tuple(WorkerRow(place, f"node-{place}", place != 1, 1000.0 + place, place) for place in range(10))
    text = drawn(progress=dataclasses.replace(PROGRESS, workers=rows), height=40)
    assert text[15:18] == [
        "│ workers     0 1,000 frames/s     0 restarts           node-0                 │",
        "│             1 lost               1 restart            node-1                 │",
        "│             2 1,000 frames/s     2 restarts           node-2                 │",
    ]
    assert text[23] == "│             2 more 2,020 frames/s                     17 restarts            │"
    low = drawn(progress=dataclasses.replace(PROGRESS, workers=rows), height=23)
    assert low[-4:-2] == [
        "│             3 1,000 frames/s     3 restarts           node-3                 │",
        "│             6 more 6,040 frames/s                     39 restarts            │",
    ]
    gone = tuple(dataclasses.replace(each, is_alive=False, frames_per_second=0.0) for each in rows[8:])
    assert "6 more, 2 lost 4,020 frames/s" in drawn(progress=dataclasses.replace(PROGRESS, workers=rows[:8] + gone))[-3]


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("vm, process 41234", 80, "vm, process 41234"),
        ("node-17.cluster.example, process 41234", 80, "node-17.cluste.. 41234"),
        ("node-17.cluster.example, process 41234", 120, "node-17.cluster.example, process 41234"),
        ("node-17.cluster.example, process 41234", 60, ""),
    ],
)
def test_where_a_worker_is_takes_what_room_there_is(name: str, width: int, shown: str) -> None:
    rows = (WorkerRow(0, name, True, 1000.0, 0),)
    (line,) = (
        each
        for each in drawn(progress=dataclasses.replace(PROGRESS, workers=rows), width=width, height=40)
        if "workers" in each
    )
    assert line.partition("0 restarts")[2].strip(" │") == shown


SAC_LOSSES = ("critic", "policy", "entropy", "temperature", "value", "critic_gradient_norm", "policy_gradient_norm")
OFF_POLICY = dataclasses.replace(
    PROGRESS, metrics={**{f"loss/{name}": 1.5 for name in (*SAC_LOSSES, "learning_rate")}, **REPLAY}
)


def test_a_replay_buffer_has_a_line() -> None:
    text = drawn(progress=OFF_POLICY)
    assert len(text) == 19
    assert text[8:14] == [
        "│ replay      12,400 / 50,000  24 %  1.00 updates per frame                    │",
        "│                                                                              │",
        "│ loss        critic                   1.500   policy                   1.500  │",
        "│             entropy                  1.500   temperature              1.500  │",
        "│             value                    1.500   critic_gradient_norm     1.500  │",
        "│             policy_gradient_norm     1.500   learning_rate            1.500  │",
    ]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 32)])
def test_a_large_replay_buffer_fits(width: int, height: int) -> None:
    metrics = {**OFF_POLICY.metrics, "replay/size": 1e7, "replay/capacity": 1e7, "replay/updates_per_frame": 20.0}
    lines = drawn(dataclasses.replace(OFF_POLICY, metrics=metrics), width, height)
    assert {cell_len(line) for line in lines} == {width}
    assert "10,000,000 / 10,000,000  100 %  20.00 updates per frame" in lines[8]
    assert lines[-2].startswith("│ checkpoint")


def test_numbers_of_a_buffer_that_are_none_are_metrics() -> None:
    metrics = {**REPLAY, "replay/size": float("nan")}
    text = "\n".join(drawn(progress=dataclasses.replace(PROGRESS, metrics=metrics)))
    assert "updates_per_frame" in text
    assert "updates per frame" not in text


@pytest.mark.parametrize("progress", [PROGRESS, OFF_POLICY])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 120])
def test_no_line_is_wrapped_or_ragged(width: int, glyphs: Glyphs, progress: Progress) -> None:
    for line in drawn(progress, width, glyphs=glyphs):
        assert cell_len(line) == width
        assert line[0] == line[-1] or line[0] in "╭╰"


def test_a_wide_terminal_is_not_filled_beyond_reading() -> None:
    assert {cell_len(line) for line in drawn(width=200)} == {120}


def test_ascii_draws_nothing_else() -> None:
    assert "".join(drawn(glyphs=ASCII)).isascii()


@pytest.mark.parametrize("height", [5, 8, 12, 16])
def test_a_low_terminal_keeps_what_matters(height: int) -> None:
    lines = drawn(height=height)
    assert len(lines) <= height
    assert lines[1].startswith("│ progress")
    assert lines[2].startswith("│ frames")
    assert lines[-1].startswith("╰")


def test_before_the_first_progress() -> None:
    assert "preparing" in drawn(progress=None)[1]


def test_with_nothing_measured_yet() -> None:
    text = "\n".join(drawn(progress=Progress(0, 500, 0, 0.0, 0.0, 0.0, None, 0)))
    assert "no episode has ended yet" in text
    assert text.count("none yet") == 2
    assert "0 / 500" in text


def test_at_the_end_there_is_no_eta() -> None:
    text = "\n".join(drawn(progress=dataclasses.replace(PROGRESS, frames=500_000)))
    assert "100 %" in text
    assert "eta" not in text


def test_hostile_text_is_harmless() -> None:
    facts, progress = with_hostile_text()
    lines = drawn(facts=facts, progress=progress)
    assert {cell_len(line) for line in lines} == {80}
    assert not {"Cc", "Cf"} & {unicodedata.category(character) for character in "".join(lines)}
    assert HOSTILE[:8] in "".join(lines)  # the markup is there as text


def test_wide_characters_keep_the_frame_straight() -> None:
    facts = dataclasses.replace(FACTS, name="倒立振子", environment="環境" * 40)
    progress = dataclasses.replace(PROGRESS, metrics={"損失の名前/方策の損失": 1.0}, shares={"環境": 0.5, "他": 0.5})
    assert {cell_len(line) for line in drawn(facts=facts, progress=progress)} == {80}


def test_long_names_and_numbers_keep_the_frame_straight() -> None:
    facts = dataclasses.replace(FACTS, name="x" * 300)
    metrics = {"g" * 50 + "/" + "n" * 200: -1.23456e300, "loss/nan": float("nan"), "a/b/c": 1.0}
    progress = dataclasses.replace(PROGRESS, metrics=metrics, frames=2**52, total_frames=2**53)
    assert {cell_len(line) for line in drawn(facts=facts, progress=progress)} == {80}


def test_a_narrow_terminal_still_names_every_part_of_the_time() -> None:
    text = "\n".join(drawn(width=60))
    for name in PROGRESS.shares:
        assert f"{name} " in text


def test_shares_need_not_be_four() -> None:
    shares = {f"part{index}": 0.2 for index in range(5)}
    assert {cell_len(line) for line in drawn(progress=dataclasses.replace(PROGRESS, shares=shares))} == {80}
