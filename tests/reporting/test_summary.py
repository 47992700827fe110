import dataclasses
import os
from pathlib import Path

import pytest
from sample_run import EVALUATION, FACTS, SUMMARY

from rl2cli.reporting.figures import ASCII, UNICODE
from rl2cli.reporting.summary import closing_lines, evaluation_text, opening_lines, shown_path

RUN = "outputs/cartpole/20261122T125501Z-s1"

posix_only = pytest.mark.skipif(os.name == "nt", reason="paths are written with /")


@posix_only
def test_closing_lines_of_a_finished_run() -> None:
    assert closing_lines(SUMMARY, UNICODE) == [
        "finished: 500,000 frames, 6.2 s, 80,000 frames/s",
        "evaluation  475.0 ± 3.1 (20 episodes), stochastic 450.2",
        "best        475.0 ± 3.1 (20 episodes) at 98,304 frames, checkpoints/98304",
        f"run         {RUN}",
        f"  rl2 infer {RUN}",
        f"  rl2 resume {RUN} --frames 1000000",
        f"  tensorboard --logdir {RUN}/tensorboard",
    ]


@posix_only
def test_closing_lines_of_a_stopped_run_offer_to_resume_first() -> None:
    stopped = dataclasses.replace(SUMMARY, status="stopped", frames=102_400, evaluation=None, best=None)
    lines = closing_lines(stopped, ASCII)
    assert lines[0] == "stopped at 102,400 of 500,000 frames, 6.2 s, 80,000 frames/s"
    assert lines[2] == f"  rl2 resume {RUN}"


def test_a_run_that_failed_at_once_has_nothing_to_resume() -> None:
    failed = dataclasses.replace(SUMMARY, status="failed", frames=0, evaluation=None, best=None)
    assert len(closing_lines(failed, UNICODE)) == 2


def test_without_tensorboard_it_is_not_offered() -> None:
    assert "tensorboard" not in "".join(closing_lines(dataclasses.replace(SUMMARY, tensorboard=False), UNICODE))


def test_as_many_stochastic_episodes_are_not_repeated() -> None:
    assert evaluation_text(EVALUATION, UNICODE) == "475.0 ± 3.1 (20 episodes), stochastic 450.2"
    fewer = dataclasses.replace(EVALUATION, stochastic_episodes=5)
    assert evaluation_text(fewer, ASCII) == "475.0 +/- 3.1 (20 episodes), stochastic 450.2 (5)"
    assert evaluation_text(dataclasses.replace(fewer, stochastic_mean=None), UNICODE) == "475.0 ± 3.1 (20 episodes)"


@posix_only
def test_commands_quote_the_folder() -> None:
    lines = closing_lines(dataclasses.replace(SUMMARY, run_dir="my runs/$x"), UNICODE)
    assert "  rl2 infer 'my runs/$x'" in lines


def test_paths_are_relative_where_that_is_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(str(tmp_path / "outputs" / "a")) == os.path.join("outputs", "a")
    assert shown_path(os.path.abspath(os.sep)) == os.path.abspath(os.sep)


def test_opening_lines_say_every_choice() -> None:
    facts = dataclasses.replace(FACTS, choices=("first", "second"), resumed_from=102_400, threads=2)
    assert [line.rstrip() for line in opening_lines(facts, UNICODE)] == [
        f"run         {facts.run_dir}",
        "training    ppo, mlp, CartPole-v1 × 64",
        "machine     cpu, 2 threads, seed 1",
        "resumed     from 102,400 frames",
        "choices     first",
        "            second",
    ]
