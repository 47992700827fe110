"""The command as a process: what it imports, and how it meets pipes, signals and closed streams."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

RL2 = [sys.executable, "-m", "rl2cli"]
MODULES_AFTER = """
import sys
from rl2cli.cli import main
for command in sys.argv[1:]:
    try:
        main(command.split())
    except SystemExit:
        pass
sys.stdout = sys.stderr
print("\\nmodules:", *sys.modules)
"""


def modules_after(*commands: str, cwd: Path, **variables: str) -> tuple[set[str], str]:
    """Return the modules that a process has after some commands, and its stdout."""
    done = subprocess.run(
        [sys.executable, "-c", MODULES_AFTER, *commands],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **variables},
    )
    return set(done.stderr.rpartition("\nmodules: ")[2].split()), done.stdout


LATE = {"torch", "gymnasium", "numpy", "ale_py", "tensordict", "torchrl", "rich", "tomlkit", "matplotlib", "moviepy"}
"""What no command imports that only looks."""


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run([*RL2, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.parametrize(
    ("commands", "unwanted"),
    [
        (["--help"], {"torch", "gymnasium", "rich", "pydantic", "typer"}),
        (["train --help"], {"torch", "gymnasium", "rich", "pydantic"}),
        (
            [
                *("list", "show ppo", "show cartpole.toml", "explain env.num_envs", "validate cartpole.toml", "schema"),
                *("show", "resume", "train cartpole.toml --set a=1"),  # errors, each
            ],
            LATE,
        ),
        (
            ["list", "show ppo", "explain env.num_envs", "validate cartpole.toml", "schema", "register list"],
            LATE | {"typer", "importlib.metadata._meta"},  # a stand-in has the package's own name
        ),
    ],
    ids=["help", "help of a command", "commands without training", "commands without options"],
)
def test_imports_no_more_than_it_needs(tmp_path: Path, commands: list[str], unwanted: set[str]) -> None:
    modules, stdout = modules_after(*commands, cwd=tmp_path)
    assert "rl2cli.cli.dispatch" in modules
    assert stdout
    assert not unwanted & modules


@pytest.mark.parametrize(
    "use",
    [
        "import importlib.metadata; importlib.metadata.version('pytest')",
        "from importlib.metadata import version; version('pytest')",
        "import importlib.metadata as metadata; list(metadata.entry_points(group='pytest11'))",
        "import importlib.metadata as m\ntry: m.version('-')\nexcept m.PackageNotFoundError: pass",
    ],
)
def test_what_is_put_off_is_there_when_it_is_used(tmp_path: Path, use: str) -> None:
    code = f"from rl2cli.cli import startup\nstartup.begin()\n{use}\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_exit_code_and_streams(tmp_path: Path) -> None:
    done = run("show", "pppo", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "\x1b" not in done.stderr


def test_spec_error_of_a_process(tmp_path: Path) -> None:
    done = run("train", "nope.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no file 'nope.toml'\n")


@pytest.mark.skipif(os.name == "nt", reason="pipes of a POSIX shell")
@pytest.mark.parametrize(
    ("arguments", "code", "stderr"),
    [
        ("schema", 141, ""),
        ("bogus --json", 2, "error: unknown command 'bogus'\n\nhint: `rl2 --help` lists the commands\n"),
    ],
)
def test_reader_that_goes_away_is_no_error(tmp_path: Path, arguments: str, code: int, stderr: str) -> None:
    pipe = f"(sleep 0.2; exec {' '.join(RL2)} {arguments}) | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{code}\n", stderr)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_stdout_is_a_storage_error(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*RL2, "schema"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 5
    assert done.stderr.startswith("error: the disk refused: No space left on device\n\nhint: free some space")


@pytest.mark.skipif(os.name == "nt", reason="closing of streams as a POSIX shell does it")
def test_closed_streams_are_survived(tmp_path: Path) -> None:
    done = subprocess.run(["bash", "-c", f"{' '.join(RL2)} list >&- 2>&-"], cwd=tmp_path, timeout=60)
    assert done.returncode == 0


def test_narrow_encoding_is_survived(tmp_path: Path) -> None:
    done = run("show", "ppo", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ppo, algorithm")


@pytest.mark.skipif(os.name == "nt", reason="signals cannot be sent there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_run_starts_ends_it_with_a_line(tmp_path: Path, number: signal.Signals) -> None:
    # The words are read by then; what would be imported next is waited for in its place.
    code = (
        "import sys, time\n"
        "from rl2cli.cli import dispatch\n"
        "def wait(words):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "dispatch._command = wait\n"
        "sys.exit(dispatch.run(['train', 'cartpole.toml']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert stderr.startswith(f"stopped at once by {number.name}\n")
    assert "rl2 resume" in stderr
    assert list(tmp_path.iterdir()) == []
