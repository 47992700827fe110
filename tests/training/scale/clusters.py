"""Clusters of Ray on this machine's loopback address, as users start them, with something wrong."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import rl2cli
from rl2cli.training.scale.ray_address import speaks_grpc

PACKAGES = Path(rl2cli.__file__).parent.parent
START = "import sys\n{before}\nfrom ray.scripts.scripts import main\nsys.argv[0] = 'ray'\nsys.exit(main())"
"""Python that is Ray's command, with something done before."""


@dataclass
class Head:
    """A cluster of one node."""

    address: str
    process: subprocess.Popen[str]
    token: str = field(repr=False)

    def of(self, name: str) -> psutil.Process:
        """Return the process of this cluster whose program is called `name`."""
        (found,) = [each for each in psutil.Process(self.process.pid).children(recursive=True) if each.name() == name]
        return found


@contextmanager
def head(folder: Path, *path: Path, cpus: int = 2, before: str = "") -> Iterator[Head]:
    """Start a cluster for the block that asks for a token.

    Args:
        folder: Of its files; a short name, since sockets are in it.
        path: Where its processes look for modules before all other places.
        cpus: That it says it has.
        before: Python that runs in Ray's command before it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(32)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    variables |= {
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_gcs_rpc_server_connect_timeout_s": "60",
    }
    options = [f"--port={port}", "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}", f"--temp-dir={folder}"]
    more = ["--include-dashboard=false", "--disable-usage-stats", "--object-store-memory=100000000", "--block"]
    command = [sys.executable, "-c", START.format(before=before), "start", "--head", *options, *more]
    folder.mkdir()
    process = subprocess.Popen(
        command, env=variables, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    below: list[psutil.Process] = []
    try:
        _wait_for(port, process)
        below = psutil.Process(process.pid).children(recursive=True)
        yield Head(f"127.0.0.1:{port}", process, token)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        for each in below:
            if each.is_running():
                each.kill()


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    """Wait until a cluster is complete: its node is the last thing that Ray's command starts."""
    until = time.monotonic() + 240.0
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
                names = {each.name() for each in psutil.Process(process.pid).children(recursive=True)}
                if "raylet" in names and speaks_grpc(connection):
                    return
        except (OSError, psutil.Error):
            pass
        time.sleep(0.2)
    raise AssertionError("the cluster did not start")


def other_rl2(folder: Path, *, version: str | None = None, edit: str | None = None) -> Path:
    """Copy rl2 into `folder`, as a node has it whose rl2 is of another version, or was edited; return the folder."""
    shutil.copytree(PACKAGES / "rl2cli", folder / "rl2cli", ignore=shutil.ignore_patterns("__pycache__"))
    if version is not None:
        about = folder / f"rl2cli-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: rl2cli\nVersion: {version}\n")
    if edit is not None:
        with (folder / "rl2cli" / "keys.py").open("a") as file:
            file.write(edit)
    return folder


def wrong_clock(folder: Path, seconds: float) -> Path:
    """Make a folder that has every Python that looks there for modules be off by `seconds`; return it."""
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(
        f"import time\nright = time.time\ntime.time = lambda: right() + {seconds}\n"
        f"right_ns = time.time_ns\ntime.time_ns = lambda: right_ns() + {int(seconds * 1e9)}\n"
    )
    return folder
