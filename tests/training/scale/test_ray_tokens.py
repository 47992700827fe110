"""What a cluster that asks for a token says to a learner without the right one; its head alone is enough for that."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl2cli.errors import UsageError
from rl2cli.spec.model import ScaleSpec
from rl2cli.training.scale.ray_cluster import Cluster

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PROGRAM = Path(ray.__file__).parent / "core" / "src" / "ray" / "gcs" / "gcs_server"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where the head of a cluster is that asks for a token."""
    if not PROGRAM.is_file() or sys.platform == "win32":
        pytest.skip("this Ray has its head elsewhere")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"log_dir": tmp_path, "session-dir": tmp_path, "session-name": "s", "config_list": "e30="}
    options |= {"gcs_server_port": port, "node-ip-address": "127.0.0.1", "metrics-agent-port": 0}
    process = subprocess.Popen(
        [str(PROGRAM), *(f"--{name}={value}" for name, value in options.items())],
        env={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60.0
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("token", "which"), [(None, "a token"), ("0" * 64, "another token")])
def test_a_wrong_token_is_said_in_time(
    address: str, token: str | None, which: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("RAY_AUTH_MODE", "token"), ("RAY_AUTH_TOKEN", token)):
        monkeypatch.delenv(name, raising=False)
        if token is not None:
            monkeypatch.setenv(name, str(value))
    began = time.monotonic()
    with pytest.raises(UsageError, match=f"the Ray cluster at {address} asks for {which}") as caught:
        Cluster(ScaleSpec(engine="ray", address=address))
    assert time.monotonic() - began < 15.0
    assert "RAY_AUTH_TOKEN" in str(caught.value.hint)
    assert capfd.readouterr().err == ""
