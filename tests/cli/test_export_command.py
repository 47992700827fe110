"""`rl2 export`, and the options of `rl2 infer` that change what is played and where the answer goes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from command_runner import Ended, Rl2

from rl2cli.errors import RL2Error
from rl2cli.inference import export as exporting


def test_export_says_what_it_did_and_describes_it(rl2: Rl2, trained: tuple[Path, Ended], tmp_path: Path) -> None:
    ended = rl2("export", trained[0], "--format", "torch")
    assert (ended.code, ended.stdout) == (0, "small.pt2\n")
    assert "verified on 256 observations: the same actions" in ended.stderr
    described = json.loads((tmp_path / "small.pt2.json").read_text(encoding="utf-8"))
    assert described["sha256"] == hashlib.sha256((tmp_path / "small.pt2").read_bytes()).hexdigest()
    assert [(port["name"], port["shape"], port["dtype"]) for port in described["inputs"] + described["outputs"]] == [
        ("observation", ["batch", 4], "float32"),
        ("action", ["batch"], "int64"),
    ]
    assert (described["run"], described["env"]["id"]) == (str(trained[0]), "CartPole-v1")
    again = rl2("export", trained[0], "--format", "torch")
    assert (again.code, again.stdout) == (2, "")
    assert again.stderr.startswith("error: there is a file already\n  --> small.pt2\n")


def test_what_fails_to_agree_leaves_no_file(
    rl2: Rl2, trained: tuple[Path, Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differs(*_: object) -> None:
        raise RL2Error("the exported policy chooses another action")

    monkeypatch.setattr(exporting, "verify", differs)
    ended = rl2("export", trained[0], "--format", "torch", "--json")
    assert ended.code == 1
    assert json.loads(ended.stdout)["error"]["message"] == "the exported policy chooses another action"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "onxx"], "unknown format 'onxx'"),
        (["--checkpoint", "newest"], "--checkpoint takes best, last or a frame number, got 'newest'"),
        (["--out", "missing/policy.onnx"], "there is no such folder"),
        (["--checkpoint", "77"], "no checkpoint of frame 77 can be loaded"),
    ],
)
def test_export_refuses(rl2: Rl2, trained: tuple[Path, Ended], arguments: list[str], message: str) -> None:
    ended = rl2("export", trained[0], *arguments)
    assert (ended.code, ended.stderr.splitlines()[0]) == (6 if "77" in arguments else 2, f"error: {message}")


@pytest.mark.parametrize("command", ["export", "infer"])
def test_there_is_no_run(rl2: Rl2, command: str, tmp_path: Path) -> None:
    assert rl2(command).stderr.startswith("error: there is no run yet\n")
    (tmp_path / "folder").mkdir()
    ended = rl2(command, "folder")
    assert (ended.code, "neither is a run nor contains one" in ended.stderr) == (2, True)
    ended = rl2(command, "\x1b[31m[bold]\u202e")
    assert ended.code == 2
    assert not {"\x1b", "\u202e"} & set(ended.stderr)
    assert "[bold]" in ended.stderr


def test_a_damaged_checkpoint_is_said(rl2: Rl2, trained: tuple[Path, Ended], tmp_path: Path) -> None:
    run = shutil.copytree(trained[0], tmp_path / "copy")
    newest = max((run / "checkpoints").glob("0*"))
    tensors = newest / "state.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    ended = rl2("export", run, "--checkpoint", "last", "--format", "torch", "-q")
    assert (ended.code, ended.stdout) == (0, "small.pt2\n")
    assert ended.stderr.startswith(f"warning: checkpoint {int(newest.name)} is damaged")


def test_infer_has_every_episode(rl2: Rl2, trained: tuple[Path, Ended], tmp_path: Path) -> None:
    ended = rl2("infer", trained[0], "--episodes", "8", "--out", "result.json", "--json")
    result = json.loads(ended.stdout)
    assert result == json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["mean_return"] == sum(result["returns"]) / 8 == sum(result["lengths"]) / 8
    assert result["iqm_return"] == sum(sorted(result["returns"])[2:6]) / 4
    assert (result["min_length"], result["max_length"]) == (min(result["lengths"]), max(result["lengths"]))
    ended = rl2("infer", trained[0], "--out", "result.json")
    assert (ended.code, ended.stderr.splitlines()[0]) == (2, "error: there is a file already")


def test_infer_in_another_environment(rl2: Rl2, trained: tuple[Path, Ended]) -> None:
    short = rl2("infer", trained[0], "--episodes", "4", "--json", "--set", "env.max_episode_steps=5")
    assert json.loads(short.stdout)["max_length"] == 5
    ended = rl2("infer", trained[0], "--set", 'env.id="Acrobot-v1"', "--json")
    assert ended.code == 2
    assert "its observations are Box([-4.8 " in ended.stderr
    assert "and here they are Box([ -1." in ended.stderr
    ended = rl2("infer", trained[0], "--set", 'env.id="MountainCarContinuous-v0"')
    assert ended.stderr.startswith("error: the policy does not fit this environment")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("algorithm.gamma=0.9", "only keys of the environment can be set for a trained policy"),
        ('env={id="CartPole-v1"}', "only keys of the environment can be set for a trained policy"),
        ("env.num_envs=3", "env.num_envs does not count here: --episodes decides it"),
        ("env.max_episode_stps=3", "unknown key 'max_episode_stps' in [env]"),
        ("env.max_episode_steps", "expected key=VALUE"),
    ],
)
def test_what_cannot_be_set_for_infer(rl2: Rl2, trained: tuple[Path, Ended], argument: str, message: str) -> None:
    ended = rl2("infer", trained[0], "--set", argument)
    assert (ended.code, ended.stderr.splitlines()[0]) == (2, f"error: {message}")
