"""The rows of `rl2 bench`: what each measures, and the bar it is held against."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from rl2cli.benchmarks import own
from rl2cli.benchmarks.bench import Bench, Row
from rl2cli.benchmarks.cartpole_rows import cartpole_shipped, cartpole_solve, cartpole_zoo
from rl2cli.benchmarks.comparison import OURS, Bar, Comparison, interleaved
from rl2cli.benchmarks.infer_rows import infer_cartpole, infer_start
from rl2cli.benchmarks.pong_rows import pong_shipped, pong_solve, pong_standard
from rl2cli.benchmarks.processes import MeasurementError
from rl2cli.benchmarks.sac_rows import sac_halfcheetah, sac_pendulum, sac_pendulum_solve
from rl2cli.benchmarks.scale_rows import scale
from rl2cli.errors import RL2Error

SPEC_ERROR = 'name = "bench"\ntotal_frames = 1000\n\n[env]\nid = "CartPole-v1"\nnum_env = 8\n'


def measure(bench: Bench, name: str) -> list[Comparison]:
    """Return the lines of the table that the row `name` makes; one that says why where it could not be measured."""
    row = ROWS[name]
    if bench.repeats is not None:
        row = row._replace(repeats=bench.repeats)
    try:
        return row.measure(bench, row)
    except RL2Error as error:
        explained = "\n".join([error.message, *([error.hint] if error.hint else [])])
        return [Comparison(name, row.what, row.unit, row.bar, error=explained)]


def start_up(bench: Bench, row: Row) -> list[Comparison]:
    """From Enter to the prompt, for commands that train nothing."""
    with tempfile.TemporaryDirectory(prefix="rl2-bench-") as folder:
        wrong = Path(folder) / "wrong.toml"
        wrong.write_text(SPEC_ERROR, encoding="utf-8")
        commands = {"--help": (["--help"], 0), "list": (["list"], 0), "spec error": (["train", str(wrong)], 2)}
        measures = {name: _start_up_of(*command) for name, command in commands.items()}
        samples = interleaved(measures, row.repeats)
    bench.say(f"start-up: {row.repeats} times each")
    return [
        Comparison(f"start-up, {name}", row.what, row.unit, row.bar, {OURS: seconds})
        for name, seconds in samples.items()
    ]


def first_update(bench: Bench, row: Row) -> list[Comparison]:
    """From Enter to the end of the first update."""
    seconds = [run.first_update() for run in bench.cartpole(row.repeats)]
    return [Comparison("first-update", row.what, row.unit, row.bar, {OURS: seconds})]


def memory(bench: Bench, row: Row) -> list[Comparison]:
    """Peak resident memory."""
    peaks = [run.process.peak_bytes for run in bench.cartpole(row.repeats)]
    megabytes = [peak / 1e6 for peak in peaks if peak is not None]
    if not megabytes:
        raise MeasurementError(
            "this system does not report the peak memory of a process",
            hint="Linux and macOS do; elsewhere name the other rows",
        )
    return [Comparison("memory", row.what, row.unit, row.bar, {OURS: megabytes})]


def _start_up_of(arguments: list[str], exit_code: int) -> Callable[[int], float]:
    return lambda _repeat: own.start_up(arguments, exit_code)


def _time(must: float, aim: float) -> Bar:
    return Bar(must, aim, lower_is_better=True, of_ratio=False)


ROWS = {
    "cartpole-solve": Row(
        "runs/cartpole.toml from Enter to an evaluation of 475 over 20 episodes, one seed each",
        "s",
        Bar(0.9, 0.55, lower_is_better=True, of_ratio=True),
        5,
        cartpole_solve,
    ),
    "cartpole-zoo": Row(
        "training at rl-baselines3-zoo's settings: 8 environments, 32 steps, 20 epochs, batch 256; compiled update",
        "frames/s",
        Bar(3.0, 5.0, lower_is_better=False, of_ratio=True),
        3,
        cartpole_zoo,
    ),
    "cartpole-shipped": Row(
        "training with runs/cartpole.toml as shipped, against SB3 at the zoo's settings",
        "frames/s",
        Bar(15.0, 100.0, lower_is_better=False, of_ratio=True),
        3,
        cartpole_shipped,
    ),
    "sac-pendulum": Row(
        "training with runs/pendulum.toml as shipped, not ended by its target, against SB3's SAC at the same settings: "
        "one update per frame, batch 256, networks of 256x256",
        "frames/s",
        Bar(2.0, 4.0, lower_is_better=False, of_ratio=True),
        3,
        sac_pendulum,
    ),
    "sac-pendulum-solve": Row(
        "runs/pendulum.toml from Enter to an evaluation of -200 over 20 episodes, one seed each",
        "s",
        Bar(0.6, 0.25, lower_is_better=True, of_ratio=True),
        5,
        sac_pendulum_solve,
    ),
    "sac-halfcheetah": Row(
        "return that runs/halfcheetah.toml reaches in 100,000 frames, and in the time that SB3 takes for them",
        "return",
        Bar(1.0, 1.5, lower_is_better=False, of_ratio=True),
        3,
        sac_halfcheetah,
        by_default=False,
    ),
    "pong-standard": Row(
        "training on ALE/Pong-v5 at the usual settings: 8 environments, 128 steps, 4 epochs, 4 minibatches, NatureCNN",
        "frames/s",
        Bar(2.5, 4.0, lower_is_better=False, of_ratio=True),
        3,
        pong_standard,
    ),
    "pong-shipped": Row(
        "training with runs/pong.toml as shipped",
        "frames/s",
        Bar(1300.0, 2300.0, lower_is_better=False, of_ratio=False),
        3,
        pong_shipped,
    ),
    "pong-solve": Row(
        "runs/pong.toml from Enter to an evaluation of 18 over 10 episodes, one seed each",
        "min",
        Bar(45.0, 15.0, lower_is_better=True, of_ratio=False),
        3,
        pong_solve,
        by_default=False,
    ),
    "infer-cartpole": Row(
        "rl2 infer on 128 CartPoles, against Gymnasium's own vector form of them under sampled actions",
        "frames/s",
        Bar(0.5, 0.7, lower_is_better=False, of_ratio=True),
        5,
        infer_cartpole,
    ),
    "infer-start": Row(
        "rl2 infer of one CartPole episode, from Enter to its exit", "s", _time(5.0, 2.5), 5, infer_start
    ),
    "start-up": Row("from Enter to the end of the command", "s", _time(0.3, 0.15), 10, start_up),
    "first-update": Row(
        "runs/cartpole.toml from Enter to the end of its first update", "s", _time(4.0, 2.0), 5, first_update
    ),
    "memory": Row("peak resident memory of runs/cartpole.toml", "MB", _time(500.0, 350.0), 3, memory),
    "scale": Row(
        "how far the model of rl2cli/SCALE.md is off the frames/s of Ray's workers, with an environment of 5 ms a step",
        "%",
        Bar(20.0, 10.0, lower_is_better=True, of_ratio=False),
        2,
        scale,
    ),
}
"""Name → row, in the order they are measured."""
