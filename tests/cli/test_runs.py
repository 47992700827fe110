"""Commands around one run: train, show, infer, resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_runner import Ended, Rl2


def frames_of(run: Path) -> int:
    """Return the frames that a run has; a few more than asked for, since iterations are whole."""
    return int(json.loads((run / "summary.json").read_text(encoding="utf-8"))["frames"])


def test_train_prints_the_folder_alone_on_stdout(trained: tuple[Path, Ended]) -> None:
    run, ended = trained
    assert (ended.code, ended.stdout) == (0, f"{run}\n")
    assert "finished: " in ended.stderr


def test_train_as_json(rl2: Rl2, spec: Path) -> None:
    ended = rl2("train", spec.name, "--frames", "256", "--seed", "5", "--json", "-q")
    summary = json.loads(ended.stdout)
    assert (ended.code, ended.stderr) == (0, "")
    assert summary["status"] == "finished"
    assert summary["frames"] >= 256
    assert {"run_dir", "wall_seconds", "frames_per_second", "evaluation", "best"} <= set(summary)
    assert Path(summary["run_dir"]).parent == Path("outputs/small")
    assert Path(summary["run_dir"]).name.endswith("-s5")
    facts = json.loads((Path(summary["run_dir"]) / "run.json").read_text(encoding="utf-8"))
    assert facts["command"] == ["rl2", "train", "small.toml", "--frames", "256", "--seed", "5", "--json", "-q"]


def test_shipped_spec_is_named(rl2: Rl2) -> None:
    ended = rl2("train", "cartpole.toml", "--set", "env.num_envs=0")
    assert "--> command line" in ended.stderr  # found, though there is no such file here


def test_show_run(rl2: Rl2, trained: tuple[Path, Ended]) -> None:
    run, _ = trained
    ended = rl2("show", run)
    assert (ended.code, ended.stderr) == (0, "")
    facts = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines()[:4])
    assert (facts["run"], facts["status"]) == (str(run), "finished")
    assert facts["frames"].startswith(f"{frames_of(run)} in ")
    rows = ended.stdout.partition("\nevaluations\n")[2].splitlines()
    assert (rows[0].split()[0], rows[-1].split()[0]) == ("frames", str(frames_of(run)))


def test_show_run_as_json(rl2: Rl2, trained: tuple[Path, Ended]) -> None:
    shown = json.loads(rl2("show", trained[0], "--json").stdout)
    assert shown["evaluations"][-1]["frames"] == shown["checkpoints"][-1] == frames_of(trained[0])
    assert shown["summary"]["status"] == shown["status"] == "finished"


def test_show_run_survives_damaged_files(rl2: Rl2, trained: tuple[Path, Ended], tmp_path: Path) -> None:
    run = shutil.copytree(trained[0], tmp_path / "damaged")
    (run / "summary.json").write_text("{", encoding="utf-8")
    (run / "run.json").write_text('{"command": 3, "choices": 4, "versions": []}', encoding="utf-8")
    (run / "metrics.jsonl").write_bytes(
        b'\xff{"evaluation/mean_return"\n[1]\n{"frames": "x", "evaluation/mean_return": 1}\n'
    )
    ended = rl2("show", run)
    assert (ended.code, ended.stderr) == (0, "")
    assert "status       ended without a summary\n" in ended.stdout


def test_infer_as_json(rl2: Rl2, trained: tuple[Path, Ended]) -> None:
    run, _ = trained
    ended = rl2("infer", run, "--episodes", "3", "--checkpoint", frames_of(run), "--json")
    result = json.loads(ended.stdout)
    assert (ended.code, ended.stderr, result["episodes"], result["frames"]) == (0, "", 3, frames_of(run))
    assert result["min_return"] <= result["mean_return"] <= result["max_return"]
    assert {"std_return", "mean_length", "checkpoint", "videos"} <= set(result)


def test_infer_of_the_latest_says_which(rl2: Rl2, trained: tuple[Path, Ended], tmp_path: Path) -> None:
    run = shutil.copytree(trained[0], tmp_path / "outputs" / "small" / "run")
    ended = rl2("infer", "--episodes", "1")
    assert (ended.code, ended.stderr) == (0, f"using the run {run.relative_to(tmp_path)}\n")
    assert ended.stdout.startswith("return ")


def test_infer_of_a_checkpoints_folder(rl2: Rl2, trained: tuple[Path, Ended]) -> None:
    folder = min((trained[0] / "checkpoints").glob("0*"))
    result = json.loads(rl2("infer", folder, "--episodes", "1", "--json").stdout)
    assert (result["frames"], result["checkpoint"]) == (int(folder.name), str(folder))


def test_resume(rl2: Rl2, trained: tuple[Path, Ended], tmp_path: Path) -> None:
    run = shutil.copytree(trained[0], tmp_path / "again")
    ended = rl2("resume", "again", "--frames", 768, "-q")
    assert (ended.code, ended.stdout, ended.stderr) == (0, "again\n", "")
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["frames"] >= 768


def test_checkpoint_that_is_named_twice(rl2: Rl2, trained: tuple[Path, Ended]) -> None:
    folder = min((trained[0] / "checkpoints").glob("0*"))
    ended = rl2("infer", folder, "--checkpoint", "last")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: a checkpoint's folder and --checkpoint both name a checkpoint\n")


def test_resume_of_one_checkpoint(rl2: Rl2, trained: tuple[Path, Ended]) -> None:
    folder = min((trained[0] / "checkpoints").glob("0*"))
    ended = rl2("resume", folder)
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.endswith(f"\n\nhint: rl2 resume {trained[0]}\n")


@pytest.mark.parametrize("as_json", [False, True])
def test_dry_run_trains_nothing(rl2: Rl2, spec: Path, as_json: bool) -> None:
    ended = rl2("train", spec.name, "--dry-run", *(["--json"] if as_json else []))
    assert ended.code == 0
    assert not Path("outputs").exists()
    assert json.loads(ended.stdout) if as_json else "parameters" in ended.stdout
