"""Commands that look at runs: list runs, report, compare."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_runner import Ended, Rl2

METRICS = "".join(
    f'{{"frames": {frames}, "evaluation/mean_return": {frames / 10}, "rollout/return_mean": 3.0}}\n'
    for frames in (100, 200)
)


def make(path: Path, *, seed: int = 1, gamma: float = 0.9, started: str = "2026-01-01T00:00:00+00:00") -> Path:
    """Make a small finished run."""
    path.mkdir(parents=True)
    settings = f'name = "ball"\nseed = {seed}\n[env]\nid = "Ball-v0"\n[algorithm]\nname = "ppo"\ngamma = {gamma}\n'
    (path / "resolved.toml").write_text(settings, encoding="utf-8")
    (path / "run.json").write_text(json.dumps({"started": started}), encoding="utf-8")
    best = {"frames": 200, "mean_return": 20.0}
    summary = {"status": "finished", "frames": 200, "total_frames": 200, "best": best, "frames_per_second": 50.0}
    (path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (path / "metrics.jsonl").write_text(METRICS, encoding="utf-8")
    return path


def test_list_runs_newest_first(rl2: Rl2) -> None:
    make(Path("outputs/ball/old"))
    make(Path("outputs/new"), started="2026-02-01T00:00:00+00:00")
    ended = rl2("list", "runs")
    rows = [line.split() for line in ended.stdout.splitlines()]
    assert rows[0] == ["name", "environment", "algorithm", "frames", "best", "age", "state", "run"]
    assert [row[-1] for row in rows[1:]] == ["outputs/new", "outputs/ball/old"]
    assert rows[1][:5] == ["ball", "Ball-v0", "ppo", "200", "20.00"]
    assert (ended.code, ended.stderr) == (0, "")


def test_list_runs_that_contain_a_text(rl2: Rl2) -> None:
    make(Path("outputs/ball/a"))
    make(Path("outputs/ball/b"))
    (found,) = json.loads(rl2("list", "runs", "BALL/A", "--json").stdout)["runs"]
    assert (found["run_dir"], found["state"], found["best_return"]) == ("outputs/ball/a", "finished", 20.0)
    assert rl2("list", "runs", "zzz").stderr == "no run under outputs contains 'zzz'\n"


def test_list_runs_where_there_are_none(rl2: Rl2) -> None:
    ended = rl2("list", "runs")
    assert (ended.code, ended.stdout, ended.stderr) == (0, "", "there is no run under outputs\n")
    assert json.loads(rl2("list", "runs", "--json").stdout) == {"runs": []}


def test_report_of_a_real_run(rl2: Rl2, trained: tuple[Path, Ended], tmp_path: Path) -> None:
    ended = rl2("report", trained[0], "--out", "mine.html")
    assert (ended.code, ended.stdout, ended.stderr) == (0, "mine.html\n", "")
    text = (tmp_path / "mine.html").read_text(encoding="utf-8")
    for part in ("explained_variance", "CartPole-v1", "Where the time went", "resolved.toml"):
        assert part in text


def test_report_lies_in_the_run(rl2: Rl2) -> None:
    make(Path("outputs/ball/a"))
    for _ in range(2):
        ended = rl2("report")
        assert (ended.code, ended.stdout) == (0, f"{Path('outputs/ball/a/report.html')}\n")
    Path("outputs/ball/a/report.html").write_text("mine", encoding="utf-8")
    ended = rl2("report", "-q")
    assert (ended.code, ended.stdout) == (2, "")
    assert "hint: name another file with --out" in ended.stderr


def test_compare_prints_a_table_and_draws(rl2: Rl2) -> None:
    for seed in (1, 2):
        make(Path(f"outputs/ball/a{seed}"), seed=seed)
    make(Path("outputs/ball/b"), gamma=0.99)
    ended = rl2("compare", "ball")
    lines = ended.stdout.splitlines()
    assert (ended.code, ended.stderr) == (0, "picture: comparison.png\n")
    assert [line[: line.index("Ball")].strip() for line in lines[1:]] == ["gamma = 0.9", "gamma = 0.99"]
    assert "20.00 [20.00, 20.00]" in lines[1]
    assert Path("comparison.png").read_bytes().startswith(b"\x89PNG")
    assert rl2("compare", "ball").code == 0  # its own picture is replaced


def test_compare_as_json_draws_only_where_asked(rl2: Rl2) -> None:
    make(Path("outputs/ball/a"))
    ended = rl2("compare", "outputs/ball/a", "--json", "--metric", "rollout/return_mean")
    (group,) = json.loads(ended.stdout)["groups"]
    assert (group["label"], group["curve"]["iqm"], group["curve"]["low"]) == ("Ball-v0, ppo", [3.0, 3.0], None)
    assert not Path("comparison.png").exists()


@pytest.mark.parametrize("name", ["a.svg", "a.html"])
def test_compare_writes_what_the_name_says(rl2: Rl2, name: str) -> None:
    make(Path("outputs/ball/a"))
    assert rl2("compare", "ball", "--out", name, "--x", "time", "-q").code == 0
    assert "<svg" in Path(name).read_text(encoding="utf-8")
    assert rl2("compare", "ball", "--out", name).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ball", "--x", "steps"], "--x takes frames or time, got 'steps'"),
        (["ball", "--out", "a.pdf"], "--out takes a .png, .svg or .html file"),
        (["ball", "--metric", "evaluation/mean_retrun"], "no run has the metric 'evaluation/mean_retrun'"),
        (["balls"], "there is no such run folder"),
        ([], "RUN... is missing"),
    ],
)
def test_compare_of_what_is_wrong(rl2: Rl2, arguments: list[str], message: str) -> None:
    make(Path("outputs/ball/a"))
    ended = rl2("compare", *arguments)
    assert (ended.code, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert not list(Path().glob("*.png"))


def test_listing_runs_imports_neither_torch_nor_matplotlib(tmp_path: Path) -> None:
    make(tmp_path / "outputs" / "a")
    code = (
        "import sys\nfrom rl2cli.cli import main\nmain(['list', 'runs'])\n"
        "assert not {'torch', 'matplotlib', 'numpy'} & set(sys.modules), 'too much'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
