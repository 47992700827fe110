"""The commands that need no training: what they print on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli
from command_runner import Rl2

from rl2cli.registry import algorithms
from rl2cli.spec import load_spec, load_spec_text
from rl2cli.spec.schema import json_schema


def test_list_has_every_kind_but_environments(rl2: Rl2) -> None:
    headings = [line for line in rl2("list").stdout.splitlines() if line and not line.startswith(" ")]
    assert headings == ["algorithms", "networks", "adapters", "specs"]


def test_list_of_one_kind_is_a_name_a_line(rl2: Rl2) -> None:
    assert [line.split()[0] for line in rl2("list", "algorithms").stdout.splitlines()] == algorithms.names()


def test_list_environments_that_contain_a_text(rl2: Rl2) -> None:
    found = json.loads(rl2("list", "environments", "CARTPOLE-V1", "--json").stdout)
    assert {"name": "CartPole-v1", "summary": ""} in found["environments"]
    assert all("cartpole-v1" in one["name"].lower() for one in found["environments"])


def test_list_environments_has_atari(rl2: Rl2) -> None:
    assert "ALE/Pong-v5\n" in rl2("list", "environments", "pong").stdout


def test_list_specs_are_those_that_train(rl2: Rl2) -> None:
    for line in rl2("list", "specs").stdout.splitlines():
        assert load_spec(line.split()[0]).shipped


def test_list_of_an_unknown_kind(rl2: Rl2) -> None:
    ended = rl2("list", "algorithm")
    assert ended.stderr == "error: rl2 has no list of 'algorithm'\n\nhint: did you mean 'algorithms'?\n"


def test_show_spec_has_every_setting(rl2: Rl2, spec: Path) -> None:
    ended = rl2("show", spec.name, "--set", "algorithm.gamma=0.9")
    assert (ended.code, ended.stderr) == (0, "")
    assert load_spec_text(ended.stdout).spec == load_spec(spec, ["algorithm.gamma=0.9"]).spec
    assert tomli.loads(ended.stdout)["algorithm"]["gae_lambda"] == 0.95


def test_show_spec_as_json(rl2: Rl2, spec: Path) -> None:
    assert json.loads(rl2("show", spec.name, "--json").stdout)["env"]["id"] == "CartPole-v1"


def test_show_plugin_has_type_default_bounds_and_description(rl2: Rl2) -> None:
    stdout = rl2("show", "ppo").stdout
    assert stdout.startswith("ppo, algorithm, built in\n")
    assert "\n  epochs: integer, from 1 to 1000, default 4\n      Passes over a rollout in one update" in stdout


def test_show_plugin_as_json(rl2: Rl2) -> None:
    shown = json.loads(rl2("show", "mlp", "--json").stdout)
    assert (shown["kind"], shown["name"], shown["origin"]) == ("network", "mlp", "built in")
    assert "hidden_sizes" in {option["name"] for option in shown["options"]}


def test_validate_says_which_are_valid(rl2: Rl2, spec: Path) -> None:
    wrong = spec.with_name("wrong.toml")
    wrong.write_text("total_frames = 0\nseeed = 1\n", encoding="utf-8")
    ended = rl2("validate", spec.name, wrong.name)
    assert (ended.code, ended.stdout) == (2, "small.toml: valid\n")
    assert ended.stderr.count("error: ") == 3  # total_frames, seeed, and the id that is missing


def test_validate_as_json(rl2: Rl2, spec: Path) -> None:
    ended = rl2("validate", spec.name, "--set", "env.num_envs=0", "--json")
    (result,) = json.loads(ended.stdout)["specs"]
    assert (ended.code, ended.stderr, result["valid"]) == (2, "", False)
    assert [problem["key"] for problem in result["problems"]] == ["env.num_envs"]


def test_schema_is_the_packages(rl2: Rl2) -> None:
    assert json.loads(rl2("schema").stdout) == json_schema()


def test_explain_one_setting(rl2: Rl2) -> None:
    assert rl2("explain", "algorithm.gae_lambda").stdout.startswith(
        "  algorithm.gae_lambda: number, from 0 to 1, default 0.95, with name = 'ppo'\n      Mix of the advantage"
    )


def test_explain_a_table(rl2: Rl2) -> None:
    names = [line.split(":")[0].strip() for line in rl2("explain", "checkpoint").stdout.splitlines()]
    assert {"checkpoint", "checkpoint.every", "checkpoint.keep"} <= set(names)


def test_explain_an_unknown_setting(rl2: Rl2) -> None:
    assert rl2("explain", "algorithm.gae_lamda").stderr == (
        "error: there is no setting 'algorithm.gae_lamda'\n\nhint: did you mean 'algorithm.gae_lambda'?\n"
    )


def test_doctor_reports_and_says_how_to_get_extras(rl2: Rl2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2cli.cli.doctor._is_installed", lambda distribution: False)
    report = json.loads(rl2("doctor", "--json").stdout)
    assert {"python", "versions", "processor", "devices", "tools", "extras", "folders"} == set(report)
    assert "torch" in report["versions"]
    assert all(f'pip install "rl2cli[{extra}]"' in text for extra, text in report["extras"].items())


def test_doctor_as_text_is_readable(rl2: Rl2) -> None:
    stdout = rl2("doctor").stdout
    assert stdout.startswith("python ")
    for heading in ("versions", "processor", "devices", "tools", "extras", "folders"):
        assert f"\n{heading}\n" in stdout
