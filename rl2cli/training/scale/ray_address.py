"""Whether there is a cluster of Ray at an address, and in words why it cannot be used."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rl2cli.errors import RL2Error, UsageError

CONNECT_SECONDS = 5.0
"""Until one address that does not answer is given up; Ray itself waits for a minute."""
_ALL_SECONDS = 10.0
"""For a name to be found, and for all of its addresses."""
_NO_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""A frame of HTTP/2 without content; its fourth byte says that it has settings."""


def running_cluster() -> str:
    """Return the address that `auto` stands for: what RAY_ADDRESS says, or the cluster that this machine is a node of.

    Raises:
        UsageError: There is none.
    """
    named = os.environ.get("RAY_ADDRESS", "auto")
    if named != "auto":
        return named
    from ray._private.services import canonicalize_bootstrap_address_or_die

    try:
        return str(canonicalize_bootstrap_address_or_die("auto"))
    except (Exception, SystemExit) as error:
        raise UsageError(
            "no cluster of Ray runs on this machine",
            hint="`ray start --head` starts one, `ray start --address=…` joins one; or name one in scale.address",
            place="scale.address",
        ) from error


def require_answer(address: str) -> None:
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
    problems = [f"nothing answers (timed out after {_ALL_SECONDS:g} s)"]
    asking = threading.Thread(target=lambda: problems.insert(0, _problem_at(host.strip("[]"), int(port))), daemon=True)
    asking.start()
    asking.join(_ALL_SECONDS)  # a name may be looked up for longer, which cannot be stopped
    if problems[0]:
        raise UsageError(
            f"{problems[0]} at {address}",
            hint=f"start Ray there: ray start --head --port {port}; `ray status` says where one runs",
            place="scale.address",
        )


def _problem_at(host: str, port: int) -> str:
    """Return in words why there is no cluster, or nothing."""
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS) as connection:
            is_ray = "RAY_USE_TLS" in os.environ or speaks_grpc(connection)
            return "" if is_ray else "nothing that is Ray answers"
    except (OSError, OverflowError, UnicodeError) as error:
        return f"nothing answers ({error})"


def speaks_grpc(connection: socket.socket) -> bool:
    """Return whether a server answers HTTP/2, as Ray does, with a frame of settings (RFC 9113, section 3.4)."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _NO_SETTINGS)
    try:
        header = connection.recv(9, socket.MSG_WAITALL)
    except TimeoutError:
        return False
    return len(header) == 9 and header[3] == _NO_SETTINGS[3]


def require_entry(address: str) -> None:
    """Check that a cluster takes the token that we have, before Ray asks again and again; Ray is imported.

    Raises:
        UsageError: It does not.
    """
    from ray._raylet import GcsClient
    from ray.exceptions import AuthenticationError

    try:
        with _nothing_said():
            GcsClient(address=address)
    except AuthenticationError as error:
        which = "another token" if os.environ.get("RAY_AUTH_MODE", "").lower() == "token" else "a token"
        hint = "set RAY_AUTH_MODE=token, and the cluster's token in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        raise UsageError(f"the Ray cluster at {address} asks for {which}", hint=hint, place="scale.address") from error


def refusal(address: str | None, error: BaseException) -> RL2Error:
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


@contextmanager
def _nothing_said() -> Iterator[None]:
    """Keep what is not Python's off stderr: Ray's own lines about an error that is raised too."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
