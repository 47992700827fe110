"""`rl2 init`: a spec to begin with, and nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_runner import Rl2

from rl2cli.cli.init import templates
from rl2cli.spec import load_spec, shipped_specs


def test_templates_are_listed_where_none_is_given(rl2: Rl2) -> None:
    ended = rl2("init")
    names = [line.split()[0] for line in ended.stdout.splitlines()]
    assert (ended.code, names) == (0, list(templates()))
    assert {
        "ppo",
        "sac",
        "dqn",
        *(path.removeprefix("runs/").removesuffix(".toml") for path in shipped_specs()),
    } == set(names)
    assert "rl2 init ppo" in ended.stderr
    assert not list(Path().iterdir())


@pytest.mark.parametrize("name", templates())
def test_every_template_is_a_valid_spec(rl2: Rl2, name: str) -> None:
    ended = rl2("init", name)
    assert (ended.code, ended.stdout) == (0, f"{name}.toml\n")
    assert ended.stderr.endswith(f"train it: rl2 train {name}.toml\n")
    text = Path(f"{name}.toml").read_text(encoding="utf-8")
    assert text.startswith("#:schema ./schema.json\n\n# ")
    assert f" rl2 train {name}.toml\n" in text
    assert load_spec(f"{name}.toml").spec.name == name
    assert not load_spec(f"{name}.toml").shipped


@pytest.mark.parametrize("name", ["ppo", "sac", "dqn"])
def test_settings_that_are_commented_out_can_be_switched_on(rl2: Rl2, name: str) -> None:
    rl2("init", name)
    file = Path(f"{name}.toml")
    lines = file.read_text(encoding="utf-8").splitlines()
    on = [line.removeprefix("# ") if " = " in line or line == "# [video]" else line for line in lines]
    assert on != lines
    file.write_text("\n".join(on), encoding="utf-8")
    assert load_spec(file).spec.video is not None


def test_a_file_of_another_name_is_another_run(rl2: Rl2) -> None:
    assert rl2("init", "runs/pong.toml", "my games/big pong").stderr.startswith("error: there is no such folder")
    Path("my games").mkdir()
    ended = rl2("init", "runs/pong.toml", "my games/big pong")
    assert ended.stdout == "my games/big pong.toml\n"
    assert ended.stderr.endswith("train it: rl2 train 'my games/big pong.toml'\n")
    assert load_spec("my games/big pong.toml").spec.name == "big-pong"
    assert rl2("init", "ppo", "my games").stdout == "my games/ppo.toml\n"


def test_nothing_is_overwritten_without_force(rl2: Rl2) -> None:
    Path("ppo.toml").write_text("mine", encoding="utf-8")
    ended = rl2("init", "ppo")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: there is a file already\n  --> ppo.toml\n\nhint: --force replaces it")
    assert Path("ppo.toml").read_text(encoding="utf-8") == "mine"
    assert not Path("schema.json").exists()
    assert rl2("init", "ppo", "--force").code == 0
    assert load_spec("ppo.toml").spec.algorithm.name == "ppo"


def test_the_nearest_template_is_named(rl2: Rl2) -> None:
    assert rl2("init", "png").stderr == "error: there is no template 'png'\n\nhint: did you mean 'pong'?\n"


def test_a_schema_of_ones_own_stays(rl2: Rl2) -> None:
    Path("schema.json").write_text('{"title": "invoice"}', encoding="utf-8")
    rl2("init", "ppo")
    assert json.loads(Path("schema.json").read_text(encoding="utf-8")) == {"title": "invoice"}
    assert Path("ppo.toml").read_text(encoding="utf-8").startswith("#:schema ./rl2-schema.json\n")
    assert json.loads(Path("rl2-schema.json").read_text(encoding="utf-8"))["title"] == "rl2 run spec"


def test_what_is_missing_to_train_it_is_said(rl2: Rl2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2cli.cli.environments.is_importable", lambda module: module != "mujoco")
    assert 'MuJoCo is not installed: pip install "rl2cli[mujoco]"\n' in rl2("init", "hopper").stderr
    assert "not installed" not in rl2("init", "cartpole").stderr
