"""Bad input: the exact words, and the exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from command_runner import SPEC, Ended, Rl2

from rl2cli import registry


def error(message: str, hint: str = "", place: str = "") -> str:
    lines = [f"error: {message}"]
    lines += [f"  --> {place}"] if place else []
    lines += ["", f"hint: {hint}"] if hint else []
    return "\n".join(lines) + "\n"


def test_unknown_command(rl2: Rl2) -> None:
    assert rl2("trian") == Ended(2, "", error("unknown command 'trian'", "did you mean 'train'?"))


def test_unknown_command_without_a_near_one(rl2: Rl2) -> None:
    assert rl2("xyzzy") == Ended(2, "", error("unknown command 'xyzzy'", "`rl2 --help` lists the commands"))


def test_a_spec_in_place_of_a_command(rl2: Rl2) -> None:
    expected = error("unknown command 'runs/pong.toml'", "to train it: rl2 train runs/pong.toml")
    assert rl2("runs/pong.toml") == Ended(2, "", expected)


def test_unknown_option(rl2: Rl2) -> None:
    assert rl2("train", "--fram", "1", "x.toml") == Ended(
        2, "", error("unknown option '--fram'", "did you mean '--frames'?")
    )


def test_unknown_option_before_a_command(rl2: Rl2) -> None:
    assert rl2("--hlep") == Ended(2, "", error("unknown option '--hlep'", "`rl2 --help` lists the commands"))


def test_missing_argument(rl2: Rl2) -> None:
    assert rl2("train") == Ended(2, "", error("SPEC is missing", "`rl2 train --help` lists what it takes"))


def test_too_many_arguments(rl2: Rl2) -> None:
    ended = rl2("show", "ppo", "mlp")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: got unexpected extra argument")


def test_option_that_is_no_number(rl2: Rl2) -> None:
    assert rl2("train", "x.toml", "--frames", "2e6") == Ended(
        2, "", error("--frames: expected a whole number, got '2e6'", "`rl2 train --help` lists what it takes")
    )


def test_missing_spec(rl2: Rl2, spec: Path) -> None:
    expected = error("there is no file 'smal.toml'", "did you mean 'small.toml'?")
    assert rl2("train", "smal.toml") == Ended(2, "", expected)


def test_unknown_key_shows_its_line(rl2: Rl2, spec: Path) -> None:
    spec.write_text(SPEC.replace("rollout_length", "rolout_length"), encoding="utf-8")
    assert rl2("train", spec.name) == Ended(
        2,
        "",
        "error: unknown key 'rolout_length' in [algorithm]\n"
        "  --> small.toml:9:1\n"
        "   |\n"
        " 9 | rolout_length = 32\n"
        "   | ^^^^^^^^^^^^^\n"
        "\n"
        "hint: did you mean 'rollout_length'?\n",
    )


def test_unknown_algorithm(rl2: Rl2, spec: Path) -> None:
    ended = rl2("train", spec.name, "--set", 'algorithm.name="pppo"')
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(
        "error: unknown algorithm 'pppo'\n"
        "  --> command line\n"
        "   |\n"
        '   | --set algorithm.name="pppo"\n'
        "   |                      ^^^^^^\n"
        "\n"
        "hint: did you mean 'ppo'?"
    )


def test_sizes_that_do_not_divide(rl2: Rl2, spec: Path) -> None:
    assert rl2("train", spec.name, "--set", "algorithm.minibatch_size=100") == Ended(
        2,
        "",
        "error: minibatch_size = 100 does not divide a rollout of 8 environments × 32 steps = 256 frames\n"
        "  --> command line\n"
        "   |\n"
        "   | --set algorithm.minibatch_size=100\n"
        "   |                                ^^^\n"
        "\n"
        "hint: the nearest sizes that do: 64 and 128\n",
    )


def test_retired_version_of_an_environment(rl2: Rl2, spec: Path) -> None:
    ended = rl2("train", spec.name, "--set", 'env.id="LunarLander-v2"')
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: ")
    assert '   | --set env.id="LunarLander-v2"\n   |              ^' in ended.stderr
    assert ended.stderr.endswith("^\n\nhint: use 'LunarLander-v3'\n")


def test_environment_whose_package_is_missing(rl2: Rl2, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    ended = rl2("train", spec.name, "--set", 'env.id="Ant-v5"')
    needed = error("Ant-v5 needs 'mujoco', which is not installed", 'pip install "rl2cli[mujoco]"', "env.id")
    assert ended == Ended(7, "", needed)


@pytest.fixture
def odd_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_environments.py").write_text(
        "import gymnasium\n"
        "from gymnasium import spaces\n"
        "\n"
        "class Speaking(gymnasium.Env):\n"
        "    observation_space = spaces.Box(-1.0, 1.0, (2,))\n"
        "    action_space = spaces.Text(5)\n"
        "    def __init__(self, render_mode=None):\n"
        "        pass\n"
        "\n"
        "gymnasium.register('Speaking-v0', Speaking)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("odd_environments")
def test_module_that_nobody_granted(rl2: Rl2, spec: Path) -> None:
    assert rl2("train", spec.name, "--set", 'env.id="odd_environments:Speaking-v0"') == Ended(
        2,
        "",
        error(
            "the environment id 'odd_environments:Speaking-v0' would import the module 'odd_environments', "
            "which is not allowed",
            "if you trust that code: --allow-import odd_environments this once, "
            "`rl2 register module odd_environments` for good",
        ),
    )


@pytest.mark.usefixtures("odd_environments")
def test_action_space_that_fits_no_algorithm(rl2: Rl2, spec: Path) -> None:
    chosen = 'env.id="odd_environments:Speaking-v0"'
    ended = rl2("train", spec.name, "--set", chosen, "--allow-import", "odd_environments")
    assert (ended.code, ended.stdout) == (2, "")
    assert "action" in ended.stderr
    assert "Text" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_network_that_does_not_take_the_observation(rl2: Rl2, spec: Path) -> None:
    spec.write_text(spec.read_text() + '\n[network]\nname = "cnn"\n')
    ended = rl2("train", str(spec), "-q")
    line = spec.read_text().splitlines().index('name = "cnn"') + 1
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: the cnn network takes images, not an observation of shape (4,)")
    assert f"{spec.name}:{line}:8" in ended.stderr


def test_run_dir_that_holds_a_run(rl2: Rl2, spec: Path, trained: tuple[Path, Ended]) -> None:
    run, _ = trained
    expected = error(
        "this folder already holds a run",
        f"go on with it: `rl2 resume {run}`, or the same command with --resume",
        place=str(run),
    )
    assert rl2("train", spec.name, "-q", "--run-dir", run) == Ended(2, "", expected)


def test_infer_without_a_run(rl2: Rl2) -> None:
    expected = error("there is no run yet", "start one: `rl2 train runs/cartpole.toml`", place="outputs")
    assert rl2("infer") == Ended(2, "", expected)


def test_resume_of_no_run(rl2: Rl2) -> None:
    expected = error("there is no such run folder", "`latest` is the last run under outputs", place="nowhere")
    assert rl2("resume", "nowhere") == Ended(2, "", expected)


def test_resume_where_the_first_of_several_machines_has_no_run(rl2: Rl2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "ERROR")  # which rl2 sets, for good
    of_torchrun = {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": 29500}
    for name, value in {**of_torchrun, "MASTER_ADDR": "10.0.0.1"}.items():
        monkeypatch.setenv(name, str(value))
    hint = "of several machines, the one with the run's folder is started with --node-rank 0"
    assert rl2("resume", "nowhere") == Ended(2, "", error("there is no such run folder", hint, place="nowhere"))


def test_show_of_a_folder_without_a_run(rl2: Rl2, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = rl2("show", "./empty")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: this folder neither is a run nor contains one\n  --> empty\n")


def test_show_of_an_unknown_name(rl2: Rl2) -> None:
    expected = error("'pppo' is neither a run, a .toml file nor a plugin", "did you mean 'ppo'?")
    assert rl2("show", "pppo") == Ended(2, "", expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode", "bench"], "unknown mode 'bench'"),
        (["--checkpoint", "newest"], "--checkpoint takes best, last or a frame number, got 'newest'"),
        (["--episodes", "0"], "--episodes takes a number of at least 1, got 0"),
    ],
)
def test_infer_refuses_values(rl2: Rl2, arguments: list[str], message: str) -> None:
    ended = rl2("infer", *arguments)
    assert (ended.code, ended.stderr.splitlines()[0]) == (2, f"error: {message}")


def test_json_has_the_error_too(rl2: Rl2) -> None:
    ended = rl2("show", "pppo", "--json")
    told = {
        "message": "'pppo' is neither a run, a .toml file nor a plugin",
        "place": None,
        "hint": "did you mean 'ppo'?",
    }
    assert json.loads(ended.stdout) == {"error": told, "exit_code": 2}
    assert ended.stderr.startswith("error: 'pppo' is neither")


def test_debug_shows_the_traceback(rl2: Rl2) -> None:
    ended = rl2("train", "smal.toml", "--debug")
    assert ended.code == 2
    assert ended.stderr.startswith("Traceback (most recent call last):\n")
    assert "\nerror: there is no file 'smal.toml'\n" in ended.stderr


def test_data_cannot_reach_the_terminal(rl2: Rl2) -> None:
    ended = rl2("show", "\x1b[31mred\u202e")
    assert ended.stderr.startswith("error: '\\x1b[31mred\\u202e' is neither")
    ended = rl2("train", "a\x1b]0;title\x07.toml")
    assert "\x1b" not in ended.stderr


def test_a_plugins_own_exception_shows_its_lines(rl2: Rl2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_plugin.py").write_text("LIMIT = 0\n\nSHARE = 1 / LIMIT\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    registry.register_algorithm("broken", "broken_plugin:Broken")
    try:
        ended = rl2("show", "broken")
    finally:
        registry.algorithms.unregister("broken")
    assert ended == Ended(
        2,
        "",
        "error: algorithm 'broken': importing broken_plugin raised ZeroDivisionError: division by zero\n"
        "\n"
        "  broken_plugin.py:3 in <module>\n"
        "    SHARE = 1 / LIMIT\n"
        "\n"
        "hint: mend the module; its own lines are shown where there are any\n",
    )
