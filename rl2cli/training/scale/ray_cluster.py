"""A cluster of Ray for one run: the user's own, or one of this machine that nobody else can reach."""

from __future__ import annotations

import importlib.metadata
import math
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rl2cli.errors import MissingDependencyError, RL2Error, UsageError
from rl2cli.spec.model import ScaleSpec

LEAST = (2, 52)
"""Version of Ray from which on it can ask for a token."""
INSTALL = 'pip install "rl2cli[ray]"'
_NO_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""A frame of HTTP/2 without content; its fourth byte says that it has settings."""
_TRIES = 3
"""How often Ray asks a cluster that refuses it, about a second each; 20 unless changed."""
CONNECT_SECONDS = 5.0
"""Until an address that does not answer is given up; Ray itself waits for a minute."""
_HOME = Path(__file__).resolve().parents[3]
_TOO_SLOW = "timed out during startup"
"""What Ray says where its processes took more than 30 seconds to start, as on a machine with much else to do."""
_CHANGED = ("PYTHONPATH", "PYTHONBREAKPOINT")
"""Variables of the environment that a cluster changes besides those called `RAY_…`."""
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
        self._environment = dict(os.environ)
        self._folder: Path | None = None
        self._scale = scale
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
        ray = sys.modules.get("ray")
        if ray is not None:
            with _signals_kept():
                ray.shutdown()
        for name in [each for each in os.environ if each.startswith("RAY_") or each in _CHANGED]:
            os.environ.pop(name)
        before = {name: each for name, each in self._environment.items() if name.startswith("RAY_") or name in _CHANGED}
        os.environ.update(before)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

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
        self._folder = Path(tempfile.mkdtemp(prefix="rl2-ray-"))
        os.environ.update(
            {
                _LOOPBACK_ONLY: "0",
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": secrets.token_hex(32),
                "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(_HOME)])),
            }
        )
        os.environ.pop("RAY_ADDRESS", None)
        count = math.ceil(self._scale.workers * self._scale.resources.get("CPU", 0.0))
        options = {"num_cpus": max(1, count), "_temp_dir": str(self._folder), "include_dashboard": False}
        try:
            self._initialise(self._folder, **options)
        except RL2Error as error:
            if _TOO_SLOW not in error.message:
                raise
            sys.modules["ray"].shutdown()
            self._initialise(self._folder, **options)  # what was read from the disk is in memory now
        self.require_closed_doors()

    def _join(self, address: str) -> None:
        target = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
        if target != "auto":
            _require_answer(target)
        os.environ.setdefault("RAY_gcs_rpc_server_connect_timeout_s", str(int(CONNECT_SECONDS)))
        self._folder = Path(tempfile.mkdtemp(prefix="rl2-ray-"))
        self._initialise(self._folder, address=target)

    def _initialise(self, empty: Path, **options: Any) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            with _ray_imported(own=self.is_own) as ray, _signals_kept(), _current_folder(empty):
                ray.init(log_to_driver=False, logging_level="CRITICAL", **options)
        except (Exception, SystemExit) as error:
            raise _refusal(self._scale.address, error) from error

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
    import psutil

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


def _is_of_ray(process: Any) -> bool:
    return any("ray" in part for part in process.cmdline()[:3])


def _require_answer(address: str) -> None:
    """Check that something answers at `host:port`, before Ray waits for a minute.

    Raises:
        UsageError: Nothing does, or this is no such address.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise UsageError(
            f"{address!r} is no address of a Ray cluster",
            hint='write "host:port", 6379 unless you chose another, or "auto"; ray:// is of no use, since the learner '
            "runs on a node of the cluster",
            place="scale.address",
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as connection:
            is_ray = "RAY_USE_TLS" in os.environ or _speaks_grpc(connection)
            problem = "" if is_ray else "something else than Ray answers"
    except (OSError, OverflowError) as error:
        problem = f"nothing answers ({error})"
    if problem:
        raise UsageError(
            f"{problem} at {address}",
            hint=f"start Ray there: ray start --head --port {port}; `ray status` says where one runs",
            place="scale.address",
        )


def _speaks_grpc(connection: socket.socket) -> bool:
    """Return whether a server answers HTTP/2, as Ray does, with a frame of settings (RFC 9113, section 3.4)."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _NO_SETTINGS)
    try:
        header = connection.recv(9, socket.MSG_WAITALL)
    except TimeoutError:
        return False
    return len(header) == 9 and header[3] == _NO_SETTINGS[3]


def _refusal(address: str | None, error: BaseException) -> RL2Error:
    """Return why Ray could not be used, in words."""
    text = " ".join(str(error).split()) or type(error).__name__
    if address is None:
        return RL2Error(
            f"Ray could not be started here: {text[:400]}",
            hint='engine = "local" gives the same run without it',
            place="scale.engine",
        )
    if "ersion mismatch" in text:
        hint = "install the cluster's versions of Ray and Python here, or ours there"
    elif "uthentication" in text or "token" in text.lower():
        hint = "set RAY_AUTH_MODE=token, and the cluster's token in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
    else:
        hint = (
            "`ray status` on this machine says whether it is a node of a cluster: `ray start --address …` makes it one"
        )
    return UsageError(f"the Ray cluster at {address} cannot be used: {text[:400]}", hint=hint, place="scale.address")


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in sorted(resources.items()))


@contextmanager
def _ray_imported(*, own: bool) -> Iterator[Any]:
    """Import Ray so that a cluster of our own is on the loopback address."""
    import ray
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER, ray_constants.NUM_REDIS_GET_RETRIES
    ray._private.worker._worker_logs_enabled = False  # else it prints on stdout what it thinks of lost workers
    _read_authentication_again()
    if own:
        from ray._private.authentication.authentication_utils import is_token_auth_enabled

        if not is_token_auth_enabled():
            raise RuntimeError("it would ask nobody for a token")
        ray_constants.ENABLE_RAY_CLUSTER = False  # read from the environment when Ray was first imported
    else:
        ray_constants.NUM_REDIS_GET_RETRIES = _TRIES
    try:
        yield ray
    finally:
        ray_constants.ENABLE_RAY_CLUSTER, ray_constants.NUM_REDIS_GET_RETRIES = before


def _read_authentication_again() -> None:
    """Have Ray see what the environment says of tokens now, where it was imported before."""
    with suppress(ImportError, AttributeError):  # none of it is public; whether it took effect is checked
        from ray._raylet import AuthenticationTokenLoader, Config

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep the handlers of signals, of which Ray replaces one."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        with suppress(ValueError):  # not in the main thread, where Ray replaces none
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _current_folder(folder: Path) -> Iterator[None]:
    """Be in another folder: Ray has its workers look for modules in the current one before all others."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
