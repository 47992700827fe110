"""Every example of the two READMEs works: Python runs, specs are valid, commands and options exist."""

from __future__ import annotations

import os
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
import torch
from documents import DOCUMENTS, ROOT, Block, blocks, rl2_commands

from rl2cli import registry, trust
from rl2cli.cli import main
from rl2cli.cli.commands import COMMANDS
from rl2cli.spec import load_spec_text

CHEAP = ("list", "show", "explain", "validate", "schema")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every named block of both documents as a file, and a run that the examples can load."""
    path = tmp_path_factory.mktemp("examples")
    for document in DOCUMENTS:
        for block in [*blocks(document, "python"), *blocks(document, "toml")]:
            if block.file_name:
                (path / block.file_name).write_text(block.text, encoding="utf-8")
    return path


@pytest.fixture
def in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run in the folder as `python FILE` would, and forget afterwards what was registered and imported."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(trust, "_granted", set())
    threads = torch.get_num_threads()
    yield folder
    torch.set_num_threads(threads)
    for plugins in (registry.algorithms, registry.networks, registry.adapters):
        for entry in plugins.entries():
            if entry.target.partition(":")[0] in {path.stem for path in folder.glob("*.py")}:
                plugins.unregister(entry.name)
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)
    gymnasium.registry.pop("Corridor-v0", None)


def run_file(name: str) -> None:
    runpy.run_path(name, run_name="__main__")


def scripts(document: str) -> list[str]:
    return [str(block.file_name) for block in blocks(document, "python")]


def test_every_python_block_is_a_file() -> None:
    unnamed = [block.text[:80] for document in DOCUMENTS for block in blocks(document, "python") if not block.file_name]
    assert unnamed == []


def test_plugins_shown_are_the_files_in_tests_plugins() -> None:
    shown = {block.file_name: block.text for block in blocks("guide", "python")}
    guide = DOCUMENTS["guide"].read_text(encoding="utf-8")
    files = sorted((ROOT / "tests" / "plugins").glob("*.py"))
    assert {path.name for path in files} - shown.keys() == {"mjlab_adapter.py", "envpool_adapter.py"}  # linked
    for path in files:
        assert f"(../tests/plugins/{path.name})" in guide
        assert shown.get(path.name) in (None, f"# {path.name}\n{path.read_text(encoding='utf-8')}"), path.name


@pytest.mark.parametrize("name", scripts("guide"))
def test_guide_examples_run(name: str, in_folder: Path) -> None:
    run_file(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in scripts("README") if name.startswith("my_")])
def test_readme_plugins_run(name: str, in_folder: Path) -> None:
    run_file(name)


@pytest.mark.slow
def test_readme_scripts_run(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_file("train_cartpole.py")
    assert "finished" in capsys.readouterr().out
    run_file("play_cartpole.py")
    assert float(capsys.readouterr().out) >= 1
    assert main(["export", "--out", "cartpole.onnx", "-q"]) == 0
    capsys.readouterr()
    run_file("run_exported.py")
    assert float(capsys.readouterr().out) >= 1
    run_file("batch_of_environments.py")
    assert "[4, 4]" in capsys.readouterr().out


def test_plugin_is_checkpointed_and_loaded(in_folder: Path) -> None:
    import rl2cli

    rl2cli.register_algorithm("actor-critic", "my_algorithm:ActorCritic")
    spec = {"total_frames": 256, "env": {"id": "Pendulum-v1"}, "algorithm": {"name": "actor-critic"}}
    summary = rl2cli.train(spec, overrides=["evaluation.episodes=1"], run_dir="continuous")
    policy = rl2cli.load_policy(summary.run_dir)
    assert policy.observation_space.contains(policy.observation_space.sample())
    assert policy.action_space.contains(policy(policy.observation_space.sample()))
    policy.close()
    assert main(["resume", "continuous", "--frames", "512", "-q"]) == 0


def test_own_gymnasium_environment_trains(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = [words for words in rl2_commands("README") if "--allow-import" in words]
    assert main([*command, "--frames", "512", "-q"]) == 0
    refused = [word for word in command if word not in ("--allow-import", "my_envs")]
    trust._granted.clear()
    assert main([*refused, "-q"]) == 2
    assert "--allow-import my_envs" in capsys.readouterr().err


@pytest.mark.parametrize("document", DOCUMENTS)
def test_specs_are_valid(document: str) -> None:
    for block in blocks(document, "toml"):
        if "total_frames" in block.text:
            load_spec_text(block.text)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_options_exist(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command, *words in rl2_commands(document):
        assert command in COMMANDS
        main([command, "--help"])
        options = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", capsys.readouterr().out))
        assert {word for word in words if word.startswith("-")} <= options, command


def test_cheap_commands_of_the_readme_work(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in rl2_commands("README"):
        if words[0] in CHEAP:
            assert main(words) == 0, words
    assert "error" not in capsys.readouterr().err


def test_error_shown_in_the_readme_is_the_real_one(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = [block.text for block in blocks("README", "text") if block.text.startswith("error:")]
    match = re.search(r"--> (\S+):(\d+):1", shown)
    assert match is not None
    (spec,) = [block for block in blocks("README", "toml") if block.text.startswith("#:schema")]
    lines = spec.text.splitlines()
    lines.insert(int(match[2]) - 1, "gama = 0.99")
    Path(match[1]).write_text("\n".join(lines), encoding="utf-8")
    assert main(["validate", match[1]]) == 2
    assert capsys.readouterr().err.strip() == shown.strip()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    path = DOCUMENTS[document]
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            file, _, anchor = target.partition("#")
            linked = (path.parent / file).resolve() if file else path
            assert linked.exists(), target
            assert not anchor or anchor in _anchors(linked), target


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_both_documents_have_the_sequence_diagram() -> None:
    found: list[Block] = [block for document in DOCUMENTS for block in blocks(document, "mermaid")]
    diagrams = [block for block in found if "participant Algorithm" in block.text]
    assert len(diagrams) == 2
    assert diagrams[0] == diagrams[1]


@pytest.mark.skipif(os.name == "nt", reason="the lines are for a POSIX shell")
def test_two_lines_set_up_everything_themselves() -> None:
    first, second = (block.text.strip() for block in blocks("README", "sh")[:2])
    assert first.startswith("python3 -m venv .venv && ")
    assert "runs/cartpole.toml" in first
    assert second.startswith("python3 -m venv .venv-test && ")
    assert second.endswith("-m pytest -q")
    assert ".venv*/" in (ROOT / ".gitignore").read_text(encoding="utf-8")
