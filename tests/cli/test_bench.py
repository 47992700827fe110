"""`rl2 bench` without a real measurement: arithmetic, names, and what becomes of commands that misbehave."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rl2cli.benchmarks import cartpole_rows, own, peer
from rl2cli.benchmarks.bench import Bench
from rl2cli.benchmarks.cartpole_rows import SB3_CLEANRL, SB3_ZOO
from rl2cli.benchmarks.comparison import Bar, Comparison, interleaved
from rl2cli.benchmarks.idleness import Idleness, measure_idleness
from rl2cli.benchmarks.own import TrainRun
from rl2cli.benchmarks.peer import Peer, Solved, find_peer
from rl2cli.benchmarks.processes import Ended, MeasurementError, run_command
from rl2cli.benchmarks.rows import ROWS, measure
from rl2cli.cli import bench as command
from rl2cli.errors import UsageError

FASTER = Bar(3.0, 5.0, lower_is_better=False, of_ratio=True)
SHORTER = Bar(0.9, 0.55, lower_is_better=True, of_ratio=True)
SECONDS = Bar(0.3, 0.15, lower_is_better=True, of_ratio=False)


def compared(bar: Bar, **samples: list[float]) -> Comparison:
    return Comparison("row", "what", "s", bar, samples)


@pytest.mark.parametrize(
    ("bar", "figure", "verdict"),
    [
        (FASTER, 5.0, "aim met"),
        (FASTER, 3.0, "must met"),
        (FASTER, 2.99, "missed"),
        (SHORTER, 0.55, "aim met"),
        (SHORTER, 0.9, "must met"),
        (SHORTER, math.inf, "missed"),
    ],
)
def test_verdict(bar: Bar, figure: float, verdict: str) -> None:
    assert bar.verdict(figure) == verdict


def test_ratio_is_of_medians_against_the_best_peer() -> None:
    shorter = compared(SHORTER, rl2=[3.0, 100.0, 2.0], slow=[10.0, 11.0, 12.0], quick=[6.0, 5.0, 70.0])
    assert (shorter.ours, shorter.peer, shorter.ratio) == (3.0, ("quick", 6.0), 0.5)
    assert shorter.verdict == "aim met"
    faster = compared(FASTER, rl2=[400.0], slow=[50.0], quick=[100.0])
    assert (faster.peer, faster.ratio, faster.verdict) == (("quick", 100.0), 4.0, "must met")


def test_without_a_peer_only_a_ratio_is_not_compared() -> None:
    assert compared(FASTER, rl2=[400.0]).verdict == "not compared"
    assert compared(SECONDS, rl2=[0.2]).verdict == "must met"


def test_a_side_that_never_got_there() -> None:
    assert compared(SHORTER, rl2=[3.0], peer=[math.inf]).verdict == "aim met"
    assert compared(SHORTER, rl2=[math.inf], peer=[3.0]).verdict == "missed"
    assert compared(SHORTER, rl2=[math.inf], peer=[math.inf]).verdict == "not compared"
    assert compared(FASTER, rl2=[3.0], peer=[-1.0]).verdict == "not compared"  # returns of nothing learned
    found = compared(SHORTER, rl2=[math.inf], peer=[3.0]).to_json()
    assert (found["ours"], found["ratio"]) == (None, None)
    json.dumps(found, allow_nan=False)


def test_measures_take_turns() -> None:
    calls: list[str] = []

    def recorded(side: str) -> Callable[[int], str]:
        return lambda repeat: calls.append(side) or f"{side}{repeat}"

    assert interleaved({"a": recorded("a"), "b": recorded("b")}, 2) == {"a": ["a1", "a2"], "b": ["b1", "b2"]}
    assert calls == ["a", "b", "a", "b"]


def run_of(*timings: dict[str, object], started: float = 100.0, rate: float = 50_000.0) -> TrainRun:
    return TrainRun(Ended(started, 4.0, "", 300_000_000, 3.0), {"frames_per_second": rate}, list(timings))


def test_time_to_the_target_is_that_of_the_first_evaluation_that_reached_it() -> None:
    def row(moment: float, frames: int, mean_return: float, episodes: int = 20) -> dict[str, object]:
        return {
            "event": "evaluation",
            "time": moment,
            "frames": frames,
            "mean_return": mean_return,
            "episodes": episodes,
        }

    update = {"event": "first_update", "time": 101.5, "frames": 2048}
    run = run_of(update, row(102.0, 10_000, 474.9), row(103.0, 20_000, 475.0), row(104.0, 30_000, 500.0))
    assert run.solved(475.0, 20) == (3.0, 20_000.0)
    assert run.first_update() == 1.5
    assert run_of(row(102.0, 10_000, 474.9)).solved(475.0, 20) == (math.inf, math.inf)
    with pytest.raises(MeasurementError, match="10 episodes"):
        run_of(row(102.0, 10_000, 500.0, episodes=10)).solved(475.0, 20)
    with pytest.raises(MeasurementError, match="first_update"):
        run_of().first_update()


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Peer:
    solved = {"event": "evaluation", "time": 102.0, "frames": 20_480, "mean_return": 490.0, "episodes": 20}
    run = run_of({"event": "first_update", "time": 101.0}, solved)
    monkeypatch.setattr(own, "train", lambda *_arguments, seed: run)
    monkeypatch.setattr(own, "start_up", lambda arguments, exit_code: 0.2 if exit_code else 0.1)
    seconds = {"cartpole-zoo": 4.0, "cartpole-cleanrl": 5.0}
    monkeypatch.setattr(Peer, "solve", lambda self, task, seed, **_: Solved(seconds[task], 10_240.0, {"s x": 1.0}))
    monkeypatch.setattr(Peer, "rate", lambda self, task, seed, frames: 2_500.0)
    return Peer("python", {"stable-baselines3": "2.9.2"})


def test_rows_of_cartpole_from_fake_timings(fakes: Peer) -> None:
    said: list[str] = []
    bench = Bench(Path("runs"), fakes, said.append, repeats=2)
    names = [name for name in ROWS if not name.startswith(("sac-", "pong-", "infer-", "scale"))]
    found = {comparison.name: comparison for name in names for comparison in measure(bench, name)}
    assert {name: comparison.verdict for name, comparison in found.items()} == {
        "cartpole-solve": "aim met",
        "cartpole-zoo": "aim met",
        "cartpole-shipped": "must met",
        "start-up, --help": "aim met",
        "start-up, list": "aim met",
        "start-up, spec error": "must met",
        "first-update": "aim met",
        "memory": "aim met",
    }
    assert dict(found["cartpole-solve"].samples) == {"rl2": [2.0] * 2, SB3_ZOO: [4.0] * 2, SB3_CLEANRL: [5.0] * 2}
    assert found["cartpole-solve"].ratio == 0.5
    assert found["cartpole-zoo"].ratio == 20.0
    assert found["memory"].ours == 300.0
    assert len(bench.cartpole_runs) == 4  # first-update and memory read the runs that are there
    assert said


def test_without_a_peer_rl2_is_measured_alone(fakes: Peer) -> None:
    bench = Bench(Path("runs"), None, lambda line: None, repeats=1)
    assert [measure(bench, name)[0].verdict for name in ("cartpole-solve", "cartpole-zoo")] == ["not compared"] * 2


def test_a_row_that_cannot_be_measured_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_named: object) -> TrainRun:
        raise MeasurementError("it broke", hint="last words")

    monkeypatch.setattr(own, "train", fail)
    (comparison,) = measure(Bench(Path("runs"), None, lambda line: None), "memory")
    assert (comparison.verdict, comparison.error) == ("failed", "it broke\nlast words")
    assert "last words" in "\n".join(command._remarks([comparison]))


def test_table_shows_both_sides_and_the_bars() -> None:
    heading, line, alone = command.table(
        [
            Comparison("a", "what", "frames/s", FASTER, {"rl2": [20_000.0], "SB3": [5_000.0]}),
            Comparison("b", "what", "s", SECONDS, {"rl2": [math.inf]}),
        ]
    )
    assert heading.split() == list(command.HEADINGS)
    for cell in ("20,000 frames/s", "5,000 frames/s (SB3)", " 4 ", "≥ 3", "≥ 5", "must met"):
        assert cell in line
    assert "never" in alone
    assert "missed" in alone


def test_command_prints_json_and_fails_where_a_must_is_missed(
    fakes: Peer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_peer", lambda python: fakes)
    assert command.bench(rows=["cartpole-zoo"], repeats=1, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["ratio"] for row in found["rows"]] == [20.0]
    assert found["machine"]["peer"] == {"stable-baselines3": "2.9.2"}
    monkeypatch.setattr(Peer, "rate", lambda self, task, seed, frames: 40_000.0)
    assert command.bench(rows=["cartpole-zoo"], repeats=1, quiet=True) == 1
    assert "missed" in capsys.readouterr().out


def test_a_long_row_is_measured_on_request_alone() -> None:
    assert command._rows([]) == [name for name in ROWS if name not in {"sac-halfcheetah", "pong-solve"}]
    assert command._rows(["sac-halfcheetah", "memory"]) == ["sac-halfcheetah", "memory"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"rows": ["cartpole-zo"]}, "cartpole-zo"), ({"repeats": 0}, "--repeats"), ({"frames": 10}, "--frames")],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        command.bench(**arguments)  # type: ignore[arg-type]  # a test of several options at once


def test_an_interpreter_without_the_peer_is_refused_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="cannot run Stable-Baselines3: no-such-python cannot be started") as caught:
        find_peer("no-such-python")
    assert caught.value.hint is not None
    assert "pip install" in caught.value.hint
    monkeypatch.delenv(peer.PYTHON_VARIABLE, raising=False)
    monkeypatch.setattr(peer.importlib.util, "find_spec", lambda name: None)
    assert find_peer(None) is None


def test_a_command_is_timed_from_outside() -> None:
    before = time.time()
    ended = run_command([sys.executable, "-c", "import time; time.sleep(0.1); print('done')"], limit=60)
    assert ended.stdout.strip() == "done"
    assert ended.seconds >= 0.1
    assert before <= ended.started <= time.time() - 0.1
    if hasattr(os, "wait4"):
        assert ended.peak_bytes is not None
        assert 1e6 < ended.peak_bytes < 1e9


def test_a_command_that_fails_says_its_last_words() -> None:
    with pytest.raises(MeasurementError, match="code 3, not 0") as caught:
        run_command([sys.executable, "-c", "import sys; sys.stderr.write('why'); sys.exit(3)"], limit=60)
    assert caught.value.hint == "why"


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_a_command_past_its_limit_is_ended_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = "import time; time.sleep(60)"
    parent = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]); "
    parent += f"open({str(pid_file)!r}, 'w').write(str(p.pid)); p.wait()"
    with pytest.raises(MeasurementError, match="took longer than 2 s"):
        run_command([sys.executable, "-c", parent], limit=2)
    deadline = time.monotonic() + 10
    while _is_running(int(pid_file.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(int(pid_file.read_text()))


def test_busy_machine_is_warned_about() -> None:
    assert Idleness(0.1, 1.0).warning() is None
    assert Idleness(None, 1.0).warning() is None
    assert "load average 2.00" in str(Idleness(2.0, 1.0).warning())
    assert "50%" in str(Idleness(0.1, 0.5).warning())
    assert 0.0 < measure_idleness().share <= 1.0


def test_zoo_spec_is_valid(tmp_path: Path) -> None:
    from rl2cli.spec import load_spec_text

    loaded = load_spec_text(cartpole_rows.ZOO_SPEC.format(frames=60_000))
    assert (loaded.spec.env.num_envs, loaded.spec.total_frames) == (8, 60_000)


def test_neither_the_command_nor_the_rows_import_torch() -> None:
    code = "import sys, rl2cli.cli.bench; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def _is_running(pid: int) -> bool:
    """Return whether a process runs; one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
