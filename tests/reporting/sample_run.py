"""A run to show, and the clock and terminal to show it on."""

import dataclasses
import io

from rich.console import Console

from rl2cli.reporting.progress import Evaluation, Progress, RunFacts, Summary

EVALUATION = Evaluation(
    frames=98_304,
    mean_return=475.0,
    std_return=7.0,
    episodes=20,
    interval=3.1,
    stochastic_mean=450.2,
    stochastic_std=30.0,
    stochastic_episodes=20,
    is_best=True,
)
FACTS = RunFacts(
    run_dir="outputs/cartpole/20261122T125501Z-s1",
    name="cartpole",
    seed=1,
    algorithm="ppo",
    network="mlp",
    environment="CartPole-v1",
    num_envs=64,
    device="cpu",
    threads=1,
    choices=("device cpu: no GPU was found",),
)
PROGRESS = Progress(
    frames=102_400,
    total_frames=500_000,
    iteration=50,
    wall_seconds=12.0,
    frames_per_second_now=81_234.0,
    frames_per_second_mean=79_849.0,
    eta_seconds=4.2,
    episodes=1_234,
    return_mean=183.2,
    return_best=200.0,
    length_mean=183.2,
    return_history=tuple(float(index) for index in range(8)),
    evaluation=EVALUATION,
    best=EVALUATION,
    metrics={"loss/policy": -0.01234, "loss/value": 12.3, "policy/explained_variance": 0.9, "learning_rate": 2.5e-4},
    shares={"environment": 0.31, "policy": 0.18, "learning": 0.44, "other": 0.07},
    checkpoint_frames=98_304,
)
REPLAY = {"replay/size": 12_400.0, "replay/capacity": 50_000.0, "replay/updates_per_frame": 0.998}
SUMMARY = Summary(
    run_dir="outputs/cartpole/20261122T125501Z-s1",
    status="finished",
    frames=500_000,
    wall_seconds=6.25,
    frames_per_second=80_000.0,
    evaluation=EVALUATION,
    best=EVALUATION,
    best_checkpoint="outputs/cartpole/20261122T125501Z-s1/checkpoints/98304",
    total_frames=500_000,
)
HOSTILE = "[/][red]a\x1b[31mb\x1b]0;title\x07c\u202ed\r\n\x9b2J"
"""Markup, SGR, OSC, a bidirectional override, a carriage return and a C1 control."""


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Stream(io.StringIO):
    """A text stream with an encoding, which may say that it is a terminal."""

    def __init__(self, encoding: str = "utf-8", is_terminal: bool = False) -> None:
        super().__init__()
        self._encoding = encoding
        self._is_terminal = is_terminal

    @property
    def encoding(self) -> str:
        return self._encoding

    def isatty(self) -> bool:
        return self._is_terminal


class GoneStream(Stream):
    """A terminal that has been closed."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def terminal(stream: Stream, width: int = 80, height: int = 24) -> Console:
    return Console(
        file=stream,
        width=width,
        height=height,
        force_terminal=True,
        color_system="truecolor",
        markup=False,
        highlight=False,
        emoji=False,
        _environ={},
    )


def with_hostile_text() -> tuple[RunFacts, Progress]:
    facts = dataclasses.replace(
        FACTS, run_dir=HOSTILE, name=HOSTILE, environment=HOSTILE, algorithm=HOSTILE, choices=(HOSTILE,)
    )
    return facts, dataclasses.replace(PROGRESS, metrics={HOSTILE: 1.0, f"loss/{HOSTILE}": 2.0}, shares={HOSTILE: 1.0})
