"""Runs in processes of their own: stopped by a signal, and on a system without POSIX."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import differences, newest, rows, spec, train

from rl2cli.reporting.view import make_view
from rl2cli.training.session import resume

TRAIN = """
import json, sys, rl2cli
from rl2cli.errors import Stopped
try:
    rl2cli.train(json.loads(sys.argv[1]), run_dir=sys.argv[2])
except Stopped as error:
    print(error.message, error.hint)
    sys.exit(error.exit_code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent there")
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_run_goes_on_as_if_nothing_happened(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    never = {"every": 10_000_000}
    settings = spec(total_frames=10_000_000, evaluation=never, checkpoint=never, logging={"every": 1})
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, json.dumps(settings), str(run)], stdout=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (run / "run.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert f"stopped by {number.name} and saved" in output
    assert f"rl2 resume {run}" in output
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "stopped"
    assert newest(run).frames == summary["frames"] > 0
    if number != signal.SIGINT:
        return  # once is enough

    total = summary["frames"] + 256
    resume(str(run), view=make_view("quiet"), total_frames=total)
    whole = train(tmp_path, {**settings, "total_frames": total}, "whole")
    learned = ("algorithm", "generators", "collector", "frames")
    states = [{key: newest(each).state[key] for key in learned} for each in (run, whole)]
    assert list(differences(*states)) == []
    metrics = [[row for row in rows(each / "metrics.jsonl") if "loss/policy" in row] for each in (run, whole)]
    assert metrics[0] == metrics[1]


@pytest.mark.slow
def test_nothing_posix_is_needed(tmp_path: Path) -> None:
    program = Path(__file__).with_name("without_posix.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "run")], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 1024 <= found["frames"] < 1024 + 128
    assert found["mean_return"] > 0
