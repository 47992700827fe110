"""What is built is what a user gets: the wheel holds specs, schema and types, and works in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what git has and would have, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    source = folder / "source"
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as pip would lay it out."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def rl2(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed), "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rl2cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_wheel_holds_specs_schema_and_types_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name.removeprefix("rl2cli/runs/") for name in names if name.startswith("rl2cli/runs/")}
    runs = ROOT / "runs"
    shipped = [path for path in runs.iterdir() if path.suffix in (".toml", ".json", ".svg")]
    assert inside == {str(path.relative_to(runs)) for path in (*shipped, *(runs / "clusters").iterdir())}
    assert "rl2cli/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"rl2cli"}
    assert [name for name in names if "test" in name and not name.startswith("rl2cli/cli/templates/")] == []


def test_wheel_has_the_command(installed: Path) -> None:
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "rl2 = rl2cli.cli:main" in entry_points.read_text(encoding="utf-8")


def test_shipped_spec_trains_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    settings = ("--frames", "2000", "--set", "evaluation.episodes=2", "--run-dir", "run")
    ended = rl2(installed, tmp_path, "train", "runs/cartpole.toml", *settings)
    assert (ended.returncode, ended.stdout) == (0, "run\n"), ended.stderr
    assert ended.stderr.startswith("there is no file runs/cartpole.toml here; using the spec of that name")
    assert (tmp_path / "run" / "resolved.toml").is_file()


def test_package_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    code = "import rl2cli; print(rl2cli.__file__)"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert Path(ended.stdout.strip()) == installed / "rl2cli" / "__init__.py"


def test_validate_schema_and_list_work_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    specs = sorted(f"runs/{path.name}" for path in (ROOT / "runs").glob("*.toml"))
    assert rl2(installed, tmp_path, "validate", *specs).returncode == 0
    listed = rl2(installed, tmp_path, "list", "specs")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == specs
    schema = rl2(installed, tmp_path, "schema")
    assert schema.stdout == (ROOT / "runs" / "schema.json").read_text(encoding="utf-8")
