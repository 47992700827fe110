"""Runs on a real Ray: the same bits for any number of workers, and whatever becomes of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import sharded_runs
from sharded_runs import different
from small_runs import rows, train

from rl2cli.errors import UsageError

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

WORKER = "ray::RayWorker"


def _ray(workers: int, **scale: object) -> dict[str, object]:
    return {"engine": "ray", "workers": workers, **scale}


def _workers() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith(WORKER):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    yield
    assert not _workers()
    kept = {name: value for name, value in os.environ.items() if name.startswith("RAY_") or name in before}
    assert {name: kept[name] for name in kept if not name.startswith("PYTEST_")} == before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(("workers", "lag"), [(1, 0), (2, 0), (4, 1)])
def test_a_run_on_ray_is_the_local_one(tmp_path: Path, workers: int, lag: int) -> None:
    local = train(tmp_path, sharded_runs.spec(scale={"lag": lag}), "local")
    on_ray = train(tmp_path, sharded_runs.spec(scale=_ray(workers, lag=lag)), "ray")
    settings = "scale.engine", "scale.workers"
    assert different(local, on_ray) == [], settings


def test_a_run_whose_workers_are_killed_is_the_local_one(tmp_path: Path) -> None:
    frames = 4096
    killed: list[int] = []

    def kill() -> None:
        while len(killed) < 3 and not over.is_set():
            time.sleep(2.0)
            found = _workers()
            if found:
                found[0].kill()
                killed.append(found[0].pid)

    local = train(tmp_path, sharded_runs.spec(total_frames=frames), "local")
    over, killer = threading.Event(), threading.Thread(target=kill)
    killer.start()
    try:
        on_ray = train(tmp_path, sharded_runs.spec(total_frames=frames, scale=_ray(2)), "ray")
    finally:
        over.set()
        killer.join()
    assert killed
    assert different(local, on_ray) == []
    assert any(row["event"] == "worker lost" for row in rows(on_ray / "timings.jsonl"))


def test_our_own_cluster_listens_on_the_loopback_address_alone_and_asks_for_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rl2cli.spec.model import ScaleSpec
    from rl2cli.training.scale import ray_cluster

    cluster = ray_cluster.Cluster(ScaleSpec(engine="ray", workers=1))
    try:
        assert ray_cluster.exposed_sockets() == []
        import ray

        address = ray.get_runtime_context().gcs_address
        assert address.startswith("127.0.0.1:")
        without_token = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
        code = f"import ray; ray.init(address={address!r}, log_to_driver=False); print('let in')"
        tried = subprocess.run(
            [sys.executable, "-c", code], env=without_token, capture_output=True, text=True, timeout=120, check=False
        )
        assert "let in" not in tried.stdout
        with socket.create_server(("0.0.0.0", 0)):
            assert len(ray_cluster.exposed_sockets()) == 1
    finally:
        cluster.close()


@pytest.mark.parametrize(
    ("scale", "message", "hint"),
    [
        ({"resources": {"CPU": 1.0, "unobtainium": 2.0}}, "the cluster has 0 unobtainium", "start nodes that have it"),
        ({"address": "127.0.0.1:1"}, "nothing answers .* at 127.0.0.1:1", "ray start --head --port 1"),
        ({"address": "ray://somewhere:10001"}, "is no address of a Ray cluster", "host:port"),
    ],
)
def test_what_cannot_be_had_is_said(tmp_path: Path, scale: dict[str, object], message: str, hint: str) -> None:
    began = time.monotonic()
    with pytest.raises(UsageError, match=message) as caught:
        train(tmp_path, sharded_runs.spec(scale=_ray(1, **scale)))
    assert hint in str(caught.value.hint)
    assert "address" not in scale or time.monotonic() - began < 15.0
    assert not (tmp_path / "run").exists()
