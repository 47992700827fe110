"""What is said before, or instead of, using Ray; none of it imports Ray."""

from __future__ import annotations

import importlib.metadata
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sharded_runs
from small_runs import train

from rl2cli.errors import MissingDependencyError, RL2Error, UsageError
from rl2cli.spec.model import ScaleSpec
from rl2cli.training.scale import ray_address, ray_cluster
from rl2cli.training.scale.ray_cluster import Cluster
from rl2cli.training.signals import StopRequest


def _installed(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    real = importlib.metadata.version

    def found(name: str) -> str:
        if name != "ray":
            return real(name)
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", found)


def test_without_ray_a_run_ends_with_the_line_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, None)
    with pytest.raises(MissingDependencyError, match="Ray is not installed") as caught:
        train(tmp_path, sharded_runs.spec(scale={"engine": "ray"}))
    assert (caught.value.hint, caught.value.exit_code) == ('pip install "rl2cli[ray]"', 7)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("version", "too_old"), [("2.51.2", True), ("2.9.0", True), ("2.52.0", False), ("3.0", False)])
def test_ray_that_knows_no_tokens_is_too_old(monkeypatch: pytest.MonkeyPatch, version: str, too_old: bool) -> None:
    _installed(monkeypatch, version)
    if not too_old:
        ray_cluster.require_ray()
        return
    with pytest.raises(MissingDependencyError, match=rf"Ray {version} is too old: from 2\.52 on"):
        ray_cluster.require_ray()


@pytest.mark.parametrize("address", ["ray://host:10001", "host", "host:", ":6379", "host:six"])
def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    _installed(monkeypatch, "2.52.0")
    with pytest.raises(UsageError, match="is no address of a Ray cluster") as caught:
        Cluster(ScaleSpec(engine="ray", address=address))
    assert caught.value.place == "scale.address"


def test_an_address_where_nothing_answers_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, "2.52.0")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(UsageError, match=f"nothing answers .* at 127.0.0.1:{port}") as caught:
        Cluster(ScaleSpec(engine="ray", address=f"127.0.0.1:{port}"))
    assert f"ray start --head --port {port}" in str(caught.value.hint)
    assert time.monotonic() - began < 10.0


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_answers_and_is_not_ray_is_said(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    _installed(monkeypatch, "2.52.0")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        other = threading.Thread(target=reply)
        other.start()
        with pytest.raises(UsageError, match="nothing that is Ray answers at 127"):
            Cluster(ScaleSpec(engine="ray", address=f"127.0.0.1:{server.getsockname()[1]}"))
        other.join()


def test_what_speaks_as_ray_does_is_asked_further() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00")
        assert ray_address.speaks_grpc(near)
        assert far.recv(100).startswith(b"PRI * HTTP/2.0")


@pytest.mark.parametrize(
    ("problem", "hint"),
    [
        (
            "Version mismatch: The cluster was started with:\n    Ray: 2.53.0\n    Python: 3.12.1",
            "the cluster's versions",
        ),
        ("AuthenticationError: InvalidAuthToken", "RAY_AUTH_MODE=token"),
        ("No node info found", "is a node of a cluster"),
    ],
)
def test_why_ray_refused_is_told_in_a_line_with_what_to_do(problem: str, hint: str) -> None:
    error = ray_address.refusal("head:6379", RuntimeError(problem))
    assert "\n" not in error.message
    assert error.message.startswith("the Ray cluster at head:6379 cannot be used: ")
    assert hint in str(error.hint)


@pytest.mark.parametrize(
    ("address", "ours_alone"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.1.2.3", False),
    ],
)
def test_addresses_that_other_machines_reach(address: str, ours_alone: bool) -> None:
    assert ray_cluster.is_loopback(address) == ours_alone


def test_a_cluster_of_our_own_with_an_open_door_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster: Any = object.__new__(Cluster)
    cluster._scale = ScaleSpec(engine="ray")
    with socket.create_server(("127.0.0.1", 0)):
        cluster.require_closed_doors()
    with socket.create_server(("0.0.0.0", 0)) as door:  # of this process, as if it were Ray's
        port = door.getsockname()[1]
        with pytest.raises(RL2Error, match=f"on 0.0.0.0 port {port}"):
            cluster.require_closed_doors()
        cluster._scale = ScaleSpec(engine="ray", address="auto")  # a cluster of the user's own is the user's
        cluster.require_closed_doors()


def test_a_cluster_of_our_own_that_has_ended_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[tuple[str, None]] = [("log_monitor", None)]
    monkeypatch.setattr(ray_cluster, "ray_node", lambda: SimpleNamespace(dead_processes=lambda: ended))
    monkeypatch.setattr(ray_cluster, "_GRACE", 0.0)
    cluster: Any = object.__new__(Cluster)
    cluster._scale = ScaleSpec(engine="ray")
    cluster.require_alive()
    assert cluster.is_alive
    ended.append(("raylet", None))
    assert not cluster.is_alive
    with pytest.raises(RL2Error, match="Ray has ended: its raylet is gone") as caught:
        cluster.require_alive()
    assert "rl2 resume" in str(caught.value.hint)
    with StopRequest() as stop:
        stop.signal_number = 15
        cluster.require_alive(stop)  # whoever stopped the learner has stopped Ray too: it saves
