"""A network namespace as a second host, with a link to this one that can be taken away; needs to be root, on Linux."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMESPACE, LINK, FAR_LINK = "rl2-rig-host", "rl2-rig-near", "rl2-rig-far"
NEAR, FAR = "10.213.77.1", "10.213.77.2"
INSIDE = ("ip", "netns", "exec", NAMESPACE)
"""What a command is preceded by to run on the second host."""


def run(*command: str, **more: Any) -> None:
    """Run a command, which has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout[-500:]}{done.stderr[-500:]}")


@contextmanager
def second_host() -> Iterator[None]:
    """Make a second host for the block, at `FAR`; this one is at `NEAR` for it."""
    try:
        run("ip", "netns", "add", NAMESPACE)
        run("ip", "link", "add", LINK, "type", "veth", "peer", "name", FAR_LINK, "netns", NAMESPACE)
        run("ip", "addr", "add", f"{NEAR}/24", "dev", LINK)
        run("ip", "link", "set", LINK, "up")
        for command in (f"addr add {FAR}/24 dev {FAR_LINK}", f"link set {FAR_LINK} up", "link set lo up"):
            run(*INSIDE, "ip", *command.split())
        yield
    finally:
        subprocess.run(("ip", "netns", "del", NAMESPACE), capture_output=True, check=False)
        subprocess.run(("ip", "link", "del", LINK), capture_output=True, check=False)


def cut_off() -> None:
    """Take the link away."""
    run("ip", "link", "set", LINK, "down")
