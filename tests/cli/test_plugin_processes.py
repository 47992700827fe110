"""A stranger's simulator from the first command to the next shell, in processes as they really are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SPEC = """
total_frames = 256

[env]
backend = "my_sim"
num_envs = 4
workers = 2

[algorithm]
rollout_length = 32
minibatch_size = 64

[evaluation]
episodes = 1
"""
SHADOWS = ("random", "signal", "struct", "socket", "selectors", "tempfile", "numpy", "torch", "pydantic", "rl2cli")
"""Modules that rl2 and Python's own worker start import, under names that a folder may have too."""


def rl2(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `rl2` in a process, as its console script does: without the current folder on the module path."""
    root = next(path for path in (folder, *folder.parents) if (path / "project").is_dir())
    settings = {"XDG_CONFIG_HOME": str(root / "settings"), "XDG_CACHE_HOME": str(root / "cache")}
    home = Path(__file__).resolve().parents[2]
    environment = {**os.environ, **settings, "PYTHONPATH": str(home)}
    environment.pop("PYTHONSAFEPATH", None)
    return subprocess.run(
        [sys.executable, "-P", "-m", "rl2cli", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def must(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder whose modules would take the place of others, if they ever came first."""
    folder = tmp_path / "project"
    (folder / "experiments").mkdir(parents=True)
    for name in SHADOWS:
        text = f"from pathlib import Path\nPath({str(folder / 'shadowed')!r}).write_text({name!r})\n"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        (folder / "experiments" / f"{name}.py").write_text(text, encoding="utf-8")
    (folder / "experiments" / "spec.toml").write_text(SPEC, encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_from_the_first_command_to_the_next_shell(project: Path) -> None:
    told = must(rl2(project, "new", "adapter", "my_sim"))
    (line,) = re.findall(r"^ +rl2 (register-.*)$", told, re.MULTILINE)
    must(rl2(project, *line.split()))
    inner = project / "experiments"
    must(rl2(inner, "train", "spec.toml", "--run-dir", "run", "-q"))
    assert "my_sim" in (inner / "run" / "run.json").read_text()
    must(rl2(inner, "infer", "run", "--episodes", "2"))
    must(rl2(project.parent, "infer", "project/experiments/run", "--episodes", "1"))
    with (project / "my_sim.py").open("a", encoding="utf-8") as file:
        file.write("# another\n")
    assert "the file of my_sim:MySim has changed" in must(rl2(project, "resume", "experiments/run", "--frames", "512"))
    must(rl2(inner, "train", "spec.toml", "--seeds", "2", "--run-dir", "seeds", "-q"))
    must(rl2(inner, "check-env", "my_sim", "--steps", "50"))
    assert not (project / "shadowed").exists()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_in_a_project_from_elsewhere_imports_nothing(project: Path) -> None:
    must(rl2(project, "new", "adapter", "my_sim"))
    must(rl2(project, "register-adapter", "my_sim", "my_sim:MySim", "--no-check"))
    inner = project / "experiments"
    must(rl2(inner, "train", "spec.toml", "--run-dir", "run", "-q"))
    with (project / "my_sim.py").open("a", encoding="utf-8") as file:
        file.write(f"\nfrom pathlib import Path\n\nPath({str(project / 'shadowed')!r}).touch()\n")
    (project.parent / "settings" / "rl2" / "trusted.json").unlink()  # as on the machine of who gets this folder
    for words in (["infer", "run"], ["resume", "run", "--frames", "512"], ["train", "spec.toml"]):
        done = rl2(inner, *words)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "rl2 register trust" in done.stderr
    for words in (["report", "run"], ["show", "run"], ["list", "runs"], ["compare", "run", "--json"]):
        must(rl2(inner, *words))
    assert not (project / "shadowed").exists()
