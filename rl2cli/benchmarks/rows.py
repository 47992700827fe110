"""The rows of `rl2 bench`: what each measures, and the bar it is held against."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rl2cli.benchmarks import own
from rl2cli.benchmarks.comparison import OURS, Bar, Comparison, Unit, interleaved
from rl2cli.benchmarks.own import TrainRun
from rl2cli.benchmarks.peer import Peer, Solved
from rl2cli.benchmarks.processes import MeasurementError
from rl2cli.errors import RL2Error

TARGET_RETURN = 475.0
EVALUATION_EPISODES = 20
RATE_FRAMES = 60_000
"""Frames of a training whose speed is measured."""
NEVER = 1e9
"""A target return that no evaluation reaches: the run goes on to its total frames."""
SPEC_ERROR = 'name = "bench"\ntotal_frames = 1000\n\n[env]\nid = "CartPole-v1"\nnum_env = 8\n'
SB3_ZOO, SB3_CLEANRL = "SB3, zoo settings", "SB3, CleanRL settings"

ZOO_SPEC = """\
# CartPole with rl-baselines3-zoo's settings: speed alone, evaluation and checkpoints only at the end.
name = "cartpole-zoo"
total_frames = {frames}
compile = true

[env]
id = "CartPole-v1"
num_envs = 8

[network]
name = "mlp"
hidden_sizes = [64, 64]
activation = "tanh"

[algorithm]
name = "ppo"
rollout_length = 32
epochs = 20
minibatch_size = 256
gamma = 0.98
gae_lambda = 0.8
entropy_coef = 0.0
value_coef = 0.5
max_grad_norm = 0.5
learning_rate = {{ start = 0.001, end = 0.0 }}
clip_coef = {{ start = 0.2, end = 0.0 }}

[evaluation]
every = {frames}
episodes = 1
stochastic_episodes = 0

[checkpoint]
every = {frames}

[logging]
tensorboard = false
"""


@dataclass
class Bench:
    """One call of `rl2 bench`."""

    shipped: Path
    """The `cartpole.toml` that comes with rl2."""
    peer: Peer | None
    say: Callable[[str], None]
    """Takes a line for each measurement."""
    repeats: int | None = None
    """Measurements of each kind; each row's own number where None."""
    frames: int = RATE_FRAMES
    runs: list[TrainRun] = field(default_factory=list)
    """Runs of the shipped spec made so far, which several rows read."""

    def train_shipped(self, seed: int) -> TrainRun:
        """Run the shipped spec exactly as it is."""
        run = own.train(self.shipped, seed=seed)
        self.runs.append(run)
        self.say(f"rl2 train runs/cartpole.toml --seed {seed}: {run.process.seconds:.2f} s to its exit")
        return run

    def shipped_runs(self, repeats: int) -> list[TrainRun]:
        """Return `repeats` runs of the shipped spec, those already made among them."""
        while len(self.runs) < repeats:
            self.train_shipped(len(self.runs) + 1)
        return self.runs[:repeats]

    def peer_rate(self, seed: int) -> float:
        """Return SB3's frames/s at the zoo's settings."""
        assert self.peer is not None
        rate = self.peer.rate("zoo", seed, self.frames)
        self.say(f"{SB3_ZOO}: {rate:,.0f} frames/s")
        return rate


class Row(NamedTuple):
    """A name that `rl2 bench` takes."""

    what: str
    unit: Unit
    bar: Bar
    repeats: int
    measure: Callable[[Bench, Row], list[Comparison]]


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


def cartpole_solve(bench: Bench, row: Row) -> list[Comparison]:
    """Time to an evaluation mean of 475, from the start of the process."""

    def ours(seed: int) -> Solved:
        run = bench.train_shipped(seed)
        parts = {"s to first update": run.first_update(), "s to exit": run.process.seconds}
        if run.process.cpu_seconds is not None:
            parts["processor s to exit"] = run.process.cpu_seconds
        return Solved(*run.solved(TARGET_RETURN, EVALUATION_EPISODES), parts)

    def theirs(side: str, settings: str) -> Callable[[int], Solved]:
        def solve(seed: int) -> Solved:
            assert bench.peer is not None
            solved = bench.peer.solve(settings, seed)
            bench.say(f"{side}, seed {seed}: {TARGET_RETURN:g} after {solved.seconds:.2f} s")
            return solved

        return solve

    measures: dict[str, Callable[[int], Solved]] = {OURS: ours}
    if bench.peer is not None:
        measures |= {SB3_ZOO: theirs(SB3_ZOO, "zoo"), SB3_CLEANRL: theirs(SB3_CLEANRL, "cleanrl")}
    found = interleaved(measures, row.repeats)
    details: dict[str, list[float]] = {}
    for side, solves in found.items():
        details[f"{side}: frames"] = [solved.frames for solved in solves]
        for part in solves[0].details:
            details[f"{side}: {part}"] = [solved.details[part] for solved in solves]
    samples = {side: [solved.seconds for solved in solves] for side, solves in found.items()}
    return [Comparison("cartpole-solve", row.what, row.unit, row.bar, samples, details)]


def cartpole_zoo(bench: Bench, row: Row) -> list[Comparison]:
    """Speed of training at the zoo's settings."""
    with tempfile.TemporaryDirectory(prefix="rl2-bench-") as folder:
        spec = Path(folder) / "cartpole-zoo.toml"
        spec.write_text(ZOO_SPEC.format(frames=bench.frames), encoding="utf-8")

        def ours(seed: int) -> float:
            rate = own.train(spec, seed=seed).frames_per_second
            bench.say(f"rl2, zoo settings: {rate:,.0f} frames/s")
            return rate

        samples = interleaved({OURS: ours} | _peer_rate(bench), row.repeats)
    return [Comparison("cartpole-zoo", row.what, row.unit, row.bar, samples)]


def cartpole_shipped(bench: Bench, row: Row) -> list[Comparison]:
    """Speed of the shipped spec: as it is, beyond its target return to its total frames, and compiled."""
    whole: list[float] = []
    compiled: list[float] = []

    def variant(name: str, setting: str, seed: int) -> float:
        rate = own.train(bench.shipped, "--set", setting, seed=seed).frames_per_second
        bench.say(f"rl2 train runs/cartpole.toml {name}: {rate:,.0f} frames/s")
        return rate

    def ours(seed: int) -> float:
        whole.append(variant("to its total frames", f"evaluation.target_return={NEVER}", seed))
        return bench.train_shipped(seed).frames_per_second

    samples = interleaved({OURS: ours} | _peer_rate(bench), row.repeats)
    # Last, because from here on the compiled code is in the user's cache, and a run as shipped would use it.
    compiled.extend(variant("with compile = true", "compile=true", seed) for seed in range(1, row.repeats + 1))
    details = {f"{OURS}: frames/s without target_return": whole, f"{OURS}: frames/s with compile = true": compiled}
    return [Comparison("cartpole-shipped", row.what, row.unit, row.bar, samples, details)]


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
    seconds = [run.first_update() for run in bench.shipped_runs(row.repeats)]
    return [Comparison("first-update", row.what, row.unit, row.bar, {OURS: seconds})]


def memory(bench: Bench, row: Row) -> list[Comparison]:
    """Peak resident memory."""
    peaks = [run.process.peak_bytes for run in bench.shipped_runs(row.repeats)]
    megabytes = [peak / 1e6 for peak in peaks if peak is not None]
    if not megabytes:
        raise MeasurementError("this system does not report the peak memory of a process")
    return [Comparison("memory", row.what, row.unit, row.bar, {OURS: megabytes})]


def _peer_rate(bench: Bench) -> dict[str, Callable[[int], float]]:
    return {} if bench.peer is None else {SB3_ZOO: bench.peer_rate}


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
    "start-up": Row("from Enter to the end of the command", "s", _time(0.3, 0.15), 10, start_up),
    "first-update": Row(
        "runs/cartpole.toml from Enter to the end of its first update", "s", _time(4.0, 2.0), 5, first_update
    ),
    "memory": Row("peak resident memory of runs/cartpole.toml", "MB", _time(500.0, 350.0), 3, memory),
}
"""Name → row, in the order they are measured."""
