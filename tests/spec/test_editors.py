"""The schema in the two TOML tools that editors use, Taplo and Tombi, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from language_server import LanguageServer

from rl2cli import registry
from rl2cli.plugins import schema_cache
from rl2cli.plugins.schema_cache import Description
from rl2cli.spec.schema import schema_text
from rl2cli.spec.shipped import shipped_folder, shipped_specs

GOOD = 'total_frames = 10\n\n[env]\nid = "CartPole-v1"\n'
MISTAKES = (
    ("sed = 1\n" + GOOD, 2),
    (GOOD.replace("10", "0"), 2),
    (GOOD.replace("10", "true"), 2),
    ('precision = "float16"\n' + GOOD, 2),
    (GOOD + "num_envs = 1.5\n", 6),
    (GOOD + "[algorithm]\ngama = 0.9\n", 7),
    (GOOD + '[algorithm]\ngamma = "0.9"\n', 7),
    (GOOD + '[algorithm]\nname = "sac"\nclip_coef = 0.1\n', 8),
    (GOOD + "[algorithm]\ngamma = 1.9\n", 7),
    (GOOD + '[network]\nname = "cnn"\nactivation = "realu"\n', 8),
    (GOOD + "[video]\nat = [1.5]\n", 7),
    (GOOD + '[init]\nform = "outputs/x"\n', 7),
)
"""Texts, and the line that is at fault once the schema's line is before them."""

pytestmark = pytest.mark.usefixtures("built_in")


def tool(name: str, *arguments: str) -> list[str]:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return [path, *arguments]


def linters() -> list[list[str]]:
    found = [shutil.which("taplo"), shutil.which("tombi")]
    options = (["lint", "--colors", "never"], ["lint", "--offline"])
    return [[path, *rest] for path, rest in zip(found, options, strict=True) if path is not None]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f"#:schema ./schema.json\n{text}", encoding="utf-8")
    return path


def lint(command: list[str], *files: Path) -> tuple[int, str]:
    names = [file.name for file in files]
    done = subprocess.run([*command, *names], cwd=files[0].parent, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(not linters(), reason="neither taplo nor tombi is installed")
def test_linters_accept_what_is_shipped_and_find_mistakes(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(schema_text(), encoding="utf-8")
    for name in shipped_specs():
        shutil.copy(shipped_folder().parent / name, tmp_path)
    shipped = sorted(tmp_path.glob("*.toml"))
    for command in linters():
        code, said = lint(command, *shipped)
        assert code == 0, said
        for number, (text, line) in enumerate(MISTAKES):
            file = write(tmp_path, f"wrong{number}", text)
            code, said = lint(command, file)
            assert code != 0, text
            assert f"wrong{number}.toml:{line}:" in said, said


def test_an_editor_completes_the_options_of_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tool("tombi", "lsp", "--offline")
    monkeypatch.setattr(registry.adapters, "_loaded", {})
    entry = registry.Entry("my_sim", "my_sim:MySim", "yours", folder=str(tmp_path))
    monkeypatch.setattr(registry.adapters, "_kept", lambda: {"my_sim": entry})
    (tmp_path / "my_sim.py").write_text("raise AssertionError('a schema needs no import')", encoding="utf-8")
    files = {str(tmp_path / "my_sim.py"): schema_cache.file_hash(tmp_path / "my_sim.py") or ""}
    gravity = {"type": "number", "default": 9.81, "description": "Pull."}
    seen = Description({"type": "object", "properties": {"gravity": gravity}}, "My simulator", files)
    schema_cache.save("adapter", entry.target, entry.folder, seen)
    with schema_cache.preferred():
        (tmp_path / "schema.json").write_text(schema_text(registered=True), encoding="utf-8")

    head = "#:schema ./schema.json\ntotal_frames = 10\n"
    with LanguageServer(command, tmp_path) as editor:
        assert {"seed", "device", "algorithm"} <= editor.completions(f"{head}|\n")
        assert {"clip_coef", "gae_lambda"} <= editor.completions(f'{head}[algorithm]\nname = "ppo"\n|\n')
        offered = editor.completions(f'{head}[algorithm]\nname = "sac"\n|\n')
        assert {"tau", "critics"} <= offered
        assert "clip_coef" not in offered
        assert {"channels", "strides"} <= editor.completions(f'{head}[network]\nname = "cnn"\n|\n')
        assert {'"gymnasium"', '"my_sim"'} <= editor.completions(f'{head}[env]\nbackend = "|"\n')
        assert {"gravity", "num_envs"} <= editor.completions(f'{head}[env]\nbackend = "my_sim"\n|\n')
