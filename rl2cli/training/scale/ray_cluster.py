"""A cluster of Ray for one run: the user's own, or one of this machine that nobody else can reach."""

from __future__ import annotations

import importlib.metadata
import math
import os
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from rl2cli.errors import MissingDependencyError, RL2Error, UsageError
from rl2cli.spec.model import ScaleSpec
from rl2cli.training.scale.ray_address import CONNECT_SECONDS, refusal, require_answer, require_entry, running_cluster
from rl2cli.training.scale.ray_environment import Variables, connecting, disconnect, ray_node
from rl2cli.training.scale.ray_folder import RayFolder, Reaper
from rl2cli.training.signals import StopRequest

LEAST = (2, 52)
"""Version of Ray from which on it can ask for a token."""
INSTALL = 'pip install "rl2cli[ray]"'
_HOME = Path(__file__).resolve().parents[3]
_TOO_SLOW = "timed out during startup"
"""What Ray says where its processes took more than 30 seconds to start, as on a machine with much else to do."""
_CONNECT = "RAY_gcs_rpc_server_connect_timeout_s"
_PATIENCE = "60"
"""Seconds that a cluster of our own may take to answer at first; Ray itself waits for 5."""
_GRACE = 1.0
"""Seconds between the ends of processes that are signalled at once."""
_RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"
_LINGER = "15"
"""Seconds for which processes of a cluster of our own look for its head before they end; Ray itself takes 60."""
_LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""0 has Ray use the loopback address alone, which it does anyway on Windows and macOS."""


class Cluster:
    """A connection to Ray, which ends with `close`; what it started for itself ends too.

    Args:
        scale: What the run asks for.

    Raises:
        MissingDependencyError: Ray is not installed, or too old.
        UsageError: There is no such cluster, it is of other versions, or it has too little.
        RL2Error: A cluster of our own would be open to other machines.
    """

    def __init__(self, scale: ScaleSpec) -> None:
        require_ray()
        self._scale = scale
        self._variables = Variables()
        self._folder = RayFolder()
        self._reaper: Reaper | None = None
        try:
            self._start() if scale.address is None else self._join(scale.address)
            self._require_resources()
        except BaseException:
            self.close()
            raise

    @property
    def is_own(self) -> bool:
        """Whether it was started for this run."""
        return self._scale.address is None

    def close(self) -> None:
        """Leave the cluster, or end it where it is our own."""
        disconnect()
        if self._reaper is not None:
            self._reaper.end()
        self._variables.put_back()
        self._folder.close()

    @property
    def is_alive(self) -> bool:
        """Whether all processes that make a cluster of our own are there; True for another."""
        return not self._ended()

    def require_alive(self, stop: StopRequest | None = None) -> None:
        """Check that a cluster of our own is there, unless `stop` is set.

        Raises:
            RL2Error: A part of it has ended that nothing replaces.
        """
        ended = self._ended()
        if not ended:
            return
        time.sleep(_GRACE)
        if stop is None or not stop.is_set:  # else whoever stops all processes of a run has stopped Ray's too
            raise RL2Error(
                f"Ray has ended: its {' and '.join(ended)} is gone",
                hint="nothing that was saved is lost: `rl2 resume` goes on",
            )

    def _ended(self) -> list[str]:
        node = ray_node()
        dead = [] if node is None or not self.is_own else node.dead_processes()
        return [name for name, _ in dead if name in ("gcs_server", "raylet")]

    def require_closed_doors(self) -> None:
        """Check which sockets a cluster of our own listens on; processes that it started later have some too.

        Raises:
            RL2Error: One of them can be reached from other machines, and asks for no token.
        """
        if not self.is_own:
            return
        found = exposed_sockets()
        if found:
            raise RL2Error(
                f"Ray listens where other machines reach it ({', '.join(found[:3])}), and whoever connects can run "
                "anything as you; rl2 ends it",
                hint="start a cluster yourself, behind a firewall and with RAY_AUTH_MODE=token, and name it in "
                "scale.address",
            )

    def _start(self) -> None:
        os.environ.update(
            {
                _LOOPBACK_ONLY: "0",
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": secrets.token_hex(32),
                "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(_HOME)])),
            }
        )
        self._reaper = Reaper(self._folder)
        os.environ.setdefault(_CONNECT, _PATIENCE)
        os.environ.setdefault(_RECONNECT, _LINGER)
        os.environ.pop("RAY_ADDRESS", None)
        count = math.ceil(self._scale.workers * self._scale.resources.get("CPU", 0.0))
        options = {"num_cpus": max(1, count), "_temp_dir": str(self._folder.path), "include_dashboard": False}
        try:
            self._initialise(**options)
        except RL2Error as error:
            if _TOO_SLOW not in error.message:
                raise
            disconnect()
            self._initialise(**options)  # what was read from the disk is in memory now
        self._reaper.watch(each.pid for each in psutil.Process().children(recursive=True) if _is_of_ray(each))
        self.require_closed_doors()

    def _join(self, address: str) -> None:
        target = running_cluster() if address == "auto" else address
        require_answer(target)
        os.environ.setdefault(_CONNECT, str(int(CONNECT_SECONDS)))
        self._initialise(address=target)

    def _initialise(self, **options: Any) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            with connecting(self._folder.path, own=self.is_own) as ray:
                if not self.is_own:
                    require_entry(options["address"])
                ray.init(log_to_driver=False, logging_level="CRITICAL", **options)
        except UsageError:
            raise
        except (Exception, SystemExit) as error:
            raise refusal(self._scale.address, error) from error

    def _require_resources(self) -> None:
        import ray

        there, scale = ray.cluster_resources(), self._scale
        lacking = {
            name: each * scale.workers
            for name, each in scale.resources.items()
            if each * scale.workers > there.get(name, 0.0) + 1e-9
        }
        if not lacking:
            return
        fits = min((int(there.get(name, 0.0) / each) for name, each in scale.resources.items() if each), default=0)
        raise UsageError(
            f"{scale.workers} workers take {_amounts(lacking)}, and the cluster has "
            f"{_amounts({name: there.get(name, 0.0) for name in lacking})}",
            hint=f"scale.workers = {fits} fits; nothing else of the run changes"
            if fits
            else "start nodes that have it, or ask for less in scale.resources",
            place="scale.workers" if fits else "scale.resources",
        )


def require_ray() -> None:
    """Check that Ray is installed, and new enough; imports nothing.

    Raises:
        MissingDependencyError: It is not.
    """
    try:
        version = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependencyError("Ray is not installed", hint=INSTALL, place="scale.engine") from None
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < LEAST:
        needed = ".".join(map(str, LEAST))
        raise MissingDependencyError(
            f"Ray {version} is too old: from {needed} on it can ask for a token", hint=INSTALL, place="scale.engine"
        )


def exposed_sockets() -> list[str]:
    """Return the sockets of this process and its children that listen on more than the loopback address, in words."""
    found: list[str] = []
    this = psutil.Process()
    for process in [this, *this.children(recursive=True)]:
        with suppress(psutil.Error):
            listening = [each for each in process.net_connections(kind="inet") if each.status == psutil.CONN_LISTEN]
            open_ones = [each.laddr for each in listening if not is_loopback(each.laddr.ip)]
            if process == this or _is_of_ray(process):
                found += [f"{process.name()} on {place.ip} port {place.port}" for place in open_ones]
    return found


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches an address that is listened on."""
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")


def _is_of_ray(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any("ray" in part for part in process.cmdline()[:3])
    return False


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in sorted(resources.items()))
