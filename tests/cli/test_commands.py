"""The commands that need no training: what they print on stdout."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tomli
from command_runner import Rl2

from rl2cli.registry import algorithms
from rl2cli.spec import load_spec, load_spec_text
from rl2cli.spec.schema import json_schema


def test_list_has_every_kind_but_environments(rl2: Rl2) -> None:
    headings = [line for line in rl2("list").stdout.splitlines() if line and not line.startswith(" ")]
    assert headings == ["algorithms", "networks", "adapters", "families", "specs"]


def test_list_of_one_kind_is_a_name_a_line(rl2: Rl2) -> None:
    assert [line.split()[0] for line in rl2("list", "algorithms").stdout.splitlines()] == algorithms.names()


def test_list_environments_that_contain_a_text(rl2: Rl2) -> None:
    found = json.loads(rl2("list", "environments", "CARTPOLE-V1", "--json").stdout)
    assert {"name": "CartPole-v1", "summary": "gymnasium, classic control"} in found["environments"]
    assert all("cartpole-v1" in one["name"].lower() for one in found["environments"])


def test_list_environments_has_atari(rl2: Rl2) -> None:
    assert re.search(r"^ALE/Pong-v5 +gymnasium, Atari$", rl2("list", "environments", "pong").stdout, re.MULTILINE)


def test_list_says_what_is_missing_and_how_to_get_it(rl2: Rl2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2cli.cli.environments.is_importable", lambda module: module != "mujoco")
    line = 'gymnasium, MuJoCo; not installed: pip install "rl2cli[mujoco]"\n'
    assert rl2("list", "environments", "HalfCheetah-v5").stdout.endswith(line)
    families = rl2("list", "families", "mujoco").stdout
    assert 'MuJoCo               gymnasium; not installed: pip install "rl2cli[mujoco]"\n' in families
    assert "JumanjiEnv" in rl2("list", "families").stdout


def test_list_leaves_out_environments_that_moved_elsewhere(rl2: Rl2) -> None:
    assert "Reacher-v5" in rl2("list", "environments", "reacher").stdout
    assert "Reacher-v2" not in rl2("list", "environments", "reacher").stdout


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


def test_show_spec_says_where_each_setting_is_from(rl2: Rl2, spec: Path) -> None:
    spec.with_name("own.toml").write_text('extends = "small.toml"\nseed = 4\n[video]\nat = [0.5]\n', encoding="utf-8")
    lines = rl2("show", "own.toml", "--set", "env.num_envs=16").stdout.splitlines()
    found = {line.split(" ")[0]: line.rpartition("  # ")[2] for line in lines if "  # " in line}
    assert found["seed"] == "own.toml:2"
    assert found["total_frames"] == "small.toml:2"
    assert found["num_envs"] == "--set"
    assert found["gamma"] == found["name"] == "default"
    assert next(line for line in lines if line.startswith("at = [")).endswith("  # own.toml:4")


def test_show_spec_as_json(rl2: Rl2, spec: Path) -> None:
    assert json.loads(rl2("show", spec.name, "--json").stdout)["env"]["id"] == "CartPole-v1"


def test_show_plugin_has_type_default_bounds_and_description(rl2: Rl2) -> None:
    stdout = rl2("show", "ppo").stdout
    assert stdout.startswith("ppo, algorithm, built in\n")
    assert "\n  epochs: integer, from 1 to 1000, default 4\n      Passes over a rollout in one update" in stdout


def test_show_plugin_says_where_defaults_are_from(rl2: Rl2) -> None:
    stdout = rl2("show", "ppo").stdout
    assert "\nwritten in rl2cli.algorithms.ppo\n" in stdout
    assert stdout.endswith("reinforcement learning\n")
    assert "\n  [GAE] Schulman et al. 2015, arXiv 1506.02438\n" in stdout[stdout.index("Where defaults are from:") :]
    assert "  [v5]  Gymnasium's v5 environments" in rl2("show", "gymnasium").stdout


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


def test_validate_counts_settings_by_file(rl2: Rl2, spec: Path) -> None:
    spec.with_name("own.toml").write_text('extends = "small.toml"\nseed = 4\n', encoding="utf-8")
    ended = rl2("validate", "own.toml", "--set", "env.num_envs=16")
    assert ended.stdout == "own.toml: valid (settings: 1 from own.toml, 7 from small.toml, 1 from --set)\n"
    (result,) = json.loads(rl2("validate", "own.toml", "--json").stdout)["specs"]
    assert result["sources"]["seed"] == "own.toml:2"
    assert result["sources"]["env.num_envs"] == "small.toml:6"


def test_validate_deep_builds_and_steps(rl2: Rl2, spec: Path) -> None:
    ended = rl2("validate", "--deep", spec.name)
    assert (ended.code, ended.stdout) == (0, "small.toml: valid\n")
    for said in ("built 8 × CartPole-v1", "actions Discrete(2)", "built ppo with mlp, 9,155 parameters", "a rollout 1"):
        assert said in ended.stderr
    assert not Path("outputs").exists()


def test_validate_deep_as_json(rl2: Rl2, spec: Path) -> None:
    (result,) = json.loads(rl2("validate", "--deep", spec.name, "--json").stdout)["specs"]
    assert result["tried"]["learner_bytes"] == 9155 * 4 * 4
    assert result["tried"]["rollout_bytes"] > 32 * 8 * 16  # the observations alone


def test_validate_deep_places_what_cannot_be_built(rl2: Rl2, spec: Path) -> None:
    ended = rl2("validate", "--deep", spec.name, "--set", 'network.name="cnn"')
    assert (ended.code, ended.stdout) == (2, "")
    assert "error: " in ended.stderr
    (result,) = json.loads(rl2("validate", "--deep", spec.name, "--set", 'env.id="Cart-v9"', "--json").stdout)["specs"]
    assert (result["valid"], result["problems"][0]["key"]) == (False, "env.id")


def test_validate_as_json(rl2: Rl2, spec: Path) -> None:
    ended = rl2("validate", spec.name, "--set", "env.num_envs=0", "--json")
    (result,) = json.loads(ended.stdout)["specs"]
    assert (ended.code, ended.stderr, result["valid"]) == (2, "", False)
    assert [problem["key"] for problem in result["problems"]] == ["env.num_envs"]


def test_schema_is_the_packages(rl2: Rl2) -> None:
    assert json.loads(rl2("schema").stdout) == json_schema()


def test_explain_one_setting(rl2: Rl2) -> None:
    assert rl2("explain", "algorithm.gae_lambda").stdout.startswith(
        '  algorithm.gae_lambda: number, from 0 to 1, default 0.95, with name = "ppo"\n      Mix of the advantage'
    )


def test_explain_says_where_a_default_is_from(rl2: Rl2) -> None:
    assert rl2("explain", "algorithm.gae_lambda").stdout.endswith(
        "      [PPO] Schulman et al. 2017, arXiv 1707.06347\n      [GAE] Schulman et al. 2015, arXiv 1506.02438\n"
    )


def test_explain_says_which_file_sets_it(rl2: Rl2, spec: Path) -> None:
    spec.with_name("own.toml").write_text('extends = "small.toml"\n', encoding="utf-8")
    stdout = rl2("explain", "algorithm.minibatch_size", "own.toml").stdout
    assert stdout.endswith("\n      in own.toml: 64, set by small.toml:10\n")
    assert rl2("explain", "seed", "own.toml", "--set", "seed=3").stdout.endswith("in own.toml: 3, set by --set\n")
    assert rl2("explain", "seed", "own.toml").stdout.endswith("in own.toml: 1, the default\n")
    assert rl2("explain", "algorithm.clip_value", "own.toml").stdout.endswith("in own.toml: left out\n")
    assert "'ppo'" not in (stdout := rl2("explain", "algorithm.gamma", "own.toml").stdout)
    assert stdout.count("algorithm.gamma") == 1  # of the algorithm that the spec names alone
    assert "one of another plugin" in rl2("explain", "algorithm.tau", "own.toml").stderr


def test_explain_as_json(rl2: Rl2, spec: Path) -> None:
    (found,) = json.loads(rl2("explain", "algorithm.minibatch_size", spec.name, "--json").stdout)["settings"]
    assert (found["type"], found["value"], found["origin"]) == ("integer", "64", "small.toml:10")


def test_explain_a_bare_name_says_where_it_is(rl2: Rl2) -> None:
    assert rl2("explain", "gamma").stderr.endswith("hint: did you mean 'algorithm.gamma'?\n")


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
    sections = {"python", "versions", "processor", "devices", "tools", "environments", "extras", "folders"}
    assert sections == set(report)
    assert "torch" in report["versions"]
    assert all(f'pip install "rl2cli[{extra}]"' in text for extra, text in report["extras"].items())


def test_doctor_as_text_is_readable(rl2: Rl2) -> None:
    stdout = rl2("doctor").stdout
    assert stdout.startswith("python ")
    for heading in ("versions", "processor", "devices", "tools", "environments", "extras", "folders"):
        assert f"\n{heading}\n" in stdout
