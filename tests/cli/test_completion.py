"""What the shell is told at a Tab: names of everything, nothing imported that takes long."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_runner import Rl2
from typer.main import get_command

from rl2cli.cli import completion_settings, completion_values
from rl2cli.cli.commands import COMMANDS, GROUPS
from rl2cli.cli.completion import answer, complete, split_line
from rl2cli.cli.completion_scripts import BASH, FISH, ZSH
from rl2cli.cli.dispatch import typer_app
from rl2cli.spec.plugin_tables import PLUGIN_TABLES

HEAVY = ("torch", "gymnasium", "numpy", "pydantic")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def offered(*words: str) -> list[str]:
    return [each.value for each in complete(list(words))]


def test_commands_and_the_words_behind_them() -> None:
    assert {name for name, command in COMMANDS.items() if command.listed} == set(offered(""))
    assert offered("tr") == ["train"]
    assert offered("register", "re") == ["remove"]
    assert offered("new", "") == ["adapter", "network", "algorithm"]
    assert offered("--ver") == ["--version"]
    assert offered("help", "val") == offered("val") == ["validate"]
    assert offered("--show-completion", "") == ["bash", "zsh", "fish"]
    assert offered("no-such-command", "") == []


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in GROUPS])
def test_every_option_is_offered_and_every_value_thought_of(name: str) -> None:
    words = COMMANDS[name].typed.split()
    options = offered(*words, "--")
    for each in get_command(typer_app(COMMANDS[name])).params:
        if each.param_type_name == "option" and not each.hidden:
            assert max(each.opts, key=len) in options
        if not getattr(each, "is_flag", False):
            known = {key for command, key in completion_values.SOURCES if command in ("", name)}
            assert each.name in known | completion_values.ANYTHING


def test_options_are_offered_once_unless_they_may_be_given_again() -> None:
    assert "--seed" not in offered("train", "a.toml", "--seed", "1", "--")
    assert "--set" in offered("train", "a.toml", "--set", "seed=1", "--")
    assert offered("train", "--", "--see") == []  # an argument


def test_specs_here_and_those_that_come_with_rl2(tmp_path: Path) -> None:
    for name in ("my run.toml", "notes.md", "rl2.toml", ".hidden.toml"):
        (tmp_path / name).write_text("", encoding="utf-8")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "deep.toml").write_text("", encoding="utf-8")
    found = offered("train", "")
    assert found[:2] == ["more/", "my run.toml"]
    assert "runs/pong.toml" in found
    assert {"notes.md", "rl2.toml", ".hidden.toml"}.isdisjoint(found)
    assert offered("train", "more/") == ["more/deep.toml"]
    assert offered("explain", "seed", "my") == ["my run.toml"]


def test_runs_and_their_checkpoints(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "hill" / "20260101-000000-s1"
    for frames in (100, 2000):
        (run / "checkpoints" / f"{frames:015}").mkdir(parents=True)
    assert offered("infer", "") == ["latest", "hill", "outputs/"]
    assert offered("resume", "outputs/h") == ["outputs/hill/"]
    assert offered("infer", "hill", "--checkpoint", "") == ["best", "last", "2000", "100"]
    assert offered("infer", "--checkpoint=2") == ["--checkpoint=2000"]
    assert "hill" in offered("show", "h")


def test_plugins_and_what_is_listed() -> None:
    assert {"ppo", "mlp", "torchrl"} <= set(offered("show", ""))
    assert offered("check-env", "g") == ["gymnasium:"]
    assert offered("list", "al") == ["algorithms"]
    assert {"ppo", "pong"} <= set(offered("init", "p"))
    assert "pong-shipped" in offered("bench", "pong")


def test_registered_names_and_their_options(tmp_path: Path, rl2: Rl2) -> None:
    (tmp_path / "my_net.py").write_text(
        "import pydantic\nfrom rl2cli.networks.base import BaseNetwork\nfrom rl2cli.options import Options\n\n\n"
        "class Net(BaseNetwork):\n    class Options(Options):\n"
        '        mode: str = pydantic.Field("a", json_schema_extra={"enum": ["a", "b"]})\n\n'
        "    def forward(self, observation, extra=None):\n        return observation\n",
        encoding="utf-8",
    )
    assert offered("register-network", "net", "my") == ["my_net:"]
    assert offered("register", "network", "net", "my_net:") == ["my_net:Net"]
    assert rl2("register-network", "net", "my_net:Net", "--no-check").code == 0
    assert offered("register", "remove", "") == ["net"]
    assert offered("show", "ne") == ["net"]
    (tmp_path / "own.toml").write_text('[network]\nname = "net"\n', encoding="utf-8")
    assert offered("train", "own.toml", "--set", "network.m") == ["network.mode="]
    assert offered("train", "own.toml", "--set", "network.mode=") == ['network.mode="a"', 'network.mode="b"']
    assert '"net"' in "".join(offered("train", "own.toml", "--set", "network.name="))


def test_settings_are_those_of_the_plugins_that_the_spec_names(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('[algorithm]\nname = "sac"\n', encoding="utf-8")
    (tmp_path / "own.toml").write_text('extends = "base.toml"\n[network]\nname = "cnn"\n', encoding="utf-8")
    line = ("train", "own.toml", "--set")
    assert offered(*line, "algorithm.ta") == ["algorithm.tau=", "algorithm.target_entropy="]
    assert offered(*line, "network.ch") == ["network.channels="]
    assert offered(*line, "critic_network.ch") == ["critic_network.channels="]
    assert offered(*line, 'algorithm.name="dqn"', "--set", "algorithm.dou") == ["algorithm.double="]
    assert offered("train", "--set", "algorithm.gae") == ["algorithm.gae_lambda="]
    assert offered(*line, "ext") == []  # a file's own key
    assert all(each.startswith("env.") for each in offered("infer", "--set", ""))


def test_values_of_settings_that_have_few() -> None:
    assert offered("train", "--set", "algorithm.name=") == [f'algorithm.name="{name}"' for name in (
        "dqn", "ppo", "sac", "td3", "tqc")]  # fmt: skip
    assert offered("train", "--set", "compile=") == ["compile=true", "compile=false", 'compile="auto"']
    assert offered("train", "--set", 'device="c') == ['device="cpu"', 'device="cuda"']
    assert offered("train", "--set", "seed=") == []
    assert offered("train", "--set", "algorithm.learning_rate.sh") == ["algorithm.learning_rate.shape="]
    assert offered("explain", "algorithm.gae") == ["algorithm.gae_lambda"]
    assert "algorithm.quantiles" in offered("explain", "algorithm.q")


def test_the_schema_has_every_plugin_table_and_the_shipped_names() -> None:
    tables = {table: (kind.name_key, kind.default_name) for table, kind in PLUGIN_TABLES.items()}
    assert tables == completion_settings.TABLES
    own = {table: kind.own_keys for table, kind in PLUGIN_TABLES.items()}
    assert own == {table: set(keys) for table, keys in completion_settings.OWN_KEYS.items()}
    schema = completion_settings._shipped()
    for table, kind in PLUGIN_TABLES.items():
        built_in = [each.name for each in kind.registry.entries() if each.origin == "built in"]
        assert sorted(completion_settings._builtin(schema, table)) == built_in


@pytest.mark.parametrize(
    ("line", "words", "quote", "opened"),
    [
        ("rl2 train ", ["rl2", "train", ""], "", 0),
        ("rl2 'a b' c\\ d", ["rl2", "a b", "c d"], "", 0),
        ('rl2 x="a', ["rl2", 'x=a'], '"', 2),
        ("rl2 'x=\"p", ["rl2", 'x="p'], "'", 0),
        ('rl2 "a\\"b" ', ["rl2", 'a"b', ""], "", 0),
    ],
)  # fmt: skip
def test_a_line_is_read_as_the_shell_does(line: str, words: list[str], quote: str, opened: int) -> None:
    found = split_line(line)
    assert found[:2] == (words, quote)
    if quote:
        assert found[2] == opened


def test_bash_gets_what_is_behind_its_own_last_break(tmp_path: Path) -> None:
    (tmp_path / "my run.toml").write_text("", encoding="utf-8")
    assert answer("bash", ["rl2 train my"]) == "my\\ run.toml"
    assert answer("bash", ['rl2 train "my']) == "my run.toml"
    assert answer("bash", ['rl2 train --set algorithm.name=\\"s']) == '\\"sac\\"'
    assert answer("bash", ["rl2 train --set 'algorithm.name=\"s"]) == 'algorithm.name="sac"'
    assert answer("bash", ["rl2 check-env gymn"]) == "gymnasium:"


def test_other_shells_get_a_sentence_too() -> None:
    assert answer("fish", ["val"]) == "validate\tCheck run specs and report every problem at once"


def test_names_that_could_disturb_a_terminal_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m.toml").write_text("", encoding="utf-8")
    (tmp_path / "a\n.toml").write_text("", encoding="utf-8")
    assert offered("train", "a") == []


@pytest.mark.parametrize(("shell", "script"), [("bash", BASH), ("zsh", ZSH), ("fish", FISH)])
def test_scripts_are_understood_by_their_shells(shell: str, script: str, tmp_path: Path, rl2: Rl2) -> None:
    assert rl2("--show-completion", shell).stdout == script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    file = tmp_path / "script"
    file.write_text(script, encoding="utf-8")
    done = subprocess.run([shell, "-n", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_a_line(tmp_path: Path) -> None:
    command = tmp_path / "rl2"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rl2cli "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    line = "rl2 train x --set algorithm.gam"
    call = f'COMP_LINE="{line}" COMP_POINT={len(line)}\n_rl2_completion {command}\nprintf "%s|" "${{COMPREPLY[@]}}"'
    probe = f"{BASH}\n{call}"
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": root, "COMP_WORDBREAKS": "=:"}
    done = subprocess.run(["bash", "-c", probe], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "algorithm.gamma=|"


def test_installing_adds_to_the_start_up_file_once(rl2: Rl2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("ZDOTDIR", raising=False)
    rc = tmp_path / ".zshrc"
    rc.write_text("alias ll='ls -l'", encoding="utf-8")
    for _ in range(2):
        assert rl2("--install-completion", "zsh").code == 0
    assert rc.read_text(encoding="utf-8") == "alias ll='ls -l'\nfpath+=~/.zfunc\nautoload -Uz compinit && compinit\n"
    assert (tmp_path / ".zfunc" / "_rl2").read_text(encoding="utf-8") == ZSH


def test_a_shell_without_completion_is_named(rl2: Rl2) -> None:
    ended = rl2("--install-completion", "fissh")
    assert (ended.code, ended.stderr) == (2, "error: rl2 has no completion for 'fissh'\n\nhint: did you mean 'fish'?\n")


def test_nothing_that_only_looks_imports_torch(tmp_path: Path) -> None:
    """One process for all: each command in turn, then what has been imported so far."""
    (tmp_path / "own.toml").write_text('extends = "runs/cartpole.toml"\n', encoding="utf-8")
    completions = [["train", "own.toml", "--set", "algorithm.g"], ["train", ""], ["show", ""], ["infer", "--che"], [""]]
    commands = [
        ["--help"], ["train", "--help"], ["list"], ["init"], ["init", "ppo"], ["show", "own.toml"], ["show", "ppo"],
        ["explain", "algorithm.gamma", "own.toml"], ["validate", "own.toml"], ["schema"],
    ]  # fmt: skip
    code = (
        "import json, os, sys\nfrom rl2cli.cli import main\nfound = {}\n"
        "def look(name, heavy):\n    found[name] = [each for each in heavy if each in sys.modules]\n"
        "os.environ['_RL2_COMPLETE'] = 'fish'\n"
        f"for words in {completions!r}:\n    assert main(words) == 0\n"
        f"    look('complete ' + ' '.join(words), {HEAVY!r})\n"
        "del os.environ['_RL2_COMPLETE']\n"
        f"for words in {commands!r}:\n    assert main(words) == 0, words\n"
        "    look(' '.join(words), ('torch', 'gymnasium'))\n"
        "print('found', json.dumps(found), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stderr.rpartition("found ")[2])
    assert len(found) == len(completions) + len(commands)
    assert {name: heavy for name, heavy in found.items() if heavy} == {}
