"""Learners as processes: with what torchrun puts into the environment, or started by torchrun itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w
from small_runs import newest

import rl2cli
from rl2cli.training.digest import Digest, digest_of

PACKAGES = str(Path(rl2cli.__file__).parent.parent)
SECONDS = 280


def environment(**variables: object) -> dict[str, str]:
    """Return the environment of a process of rl2's, with `variables`."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    path = os.pathsep.join([PACKAGES, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path, **{name: str(value) for name, value in variables.items()}}


def write_spec(folder: Path, settings: dict[str, Any]) -> str:
    """Write a run spec into `folder` and return its name."""
    path = folder / f"{settings['name']}.toml"
    path.write_text(tomli_w.dumps(settings))
    return path.name


@contextmanager
def started(count: int, folder: Path, *words: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start `rl2 WORDS` as that many learners, without torchrun, the first one first; they end with the block."""
    port = free_port()
    places = [
        {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
        for rank in range(count)
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "rl2cli", *words],
            env=environment(MASTER_ADDR="127.0.0.1", **place),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in places
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def torchrun(count: int, *words: str) -> list[str]:
    """Return the command of that many learners."""
    start = ["-m", "torch.distributed.run", f"--nproc-per-node={count}", f"--master-port={free_port()}"]
    return [sys.executable, *start, *words]


def run(count: int, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `rl2 WORDS` as that many learners by torchrun, or in one process of its own where `count` is 0."""
    rl2 = ["-m", "rl2cli", *words]
    command = torchrun(count, *rl2) if count else [sys.executable, *rl2]
    return subprocess.run(
        command, env=environment(), cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def digest(run_dir: Path) -> Digest:
    return digest_of(newest(run_dir), run_dir / "metrics.jsonl")
