"""The processes of a cluster that rl2 starts: whose signals they get, what they are told, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from rl2cli.training.scale.ray_folder import remove_orphans

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sessions, and ends that are shared, are Linux's"),
]

LEARNER = """
import signal
from rl2cli.spec.model import ScaleSpec
from rl2cli.training.scale.ray_cluster import Cluster
cluster = Cluster(ScaleSpec(engine="ray", workers=1))
signal.signal(signal.SIGTERM, lambda *_: print("signalled", flush=True))
print(cluster._folder.path, flush=True)
while True:
    signal.pause()
"""
OF_TORCHRUN = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "none"}


def test_they_know_nothing_of_torchrun_are_not_signalled_with_their_learner_and_end_with_it() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LEARNER],
        env={**os.environ, **OF_TORCHRUN},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    found: list[psutil.Process] = []
    try:
        folder = Path(process.stdout.readline().strip())
        assert folder.parent == Path(tempfile.gettempdir())
        found = psutil.Process(process.pid).children(recursive=True)
        lasting = [each for each in found if each.name() in ("gcs_server", "raylet")]
        assert len(lasting) == 2
        for each in lasting:  # from which all others have it
            assert not OF_TORCHRUN.keys() & each.environ().keys(), each
            assert os.getsid(each.pid) != process.pid, each
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stdout.readline() == "signalled\n"
        time.sleep(2.0)
        assert all(each.is_running() for each in lasting)
        remove_orphans()
        assert folder.is_dir()
        process.kill()
        _, left = psutil.wait_procs(found, timeout=30.0)
        assert left == []
        until = time.monotonic() + 10.0
        while folder.exists() and time.monotonic() < until:
            time.sleep(0.1)
        assert not folder.exists()
    finally:
        process.kill()
        process.communicate()
        for each in found:
            if each.is_running():
                each.kill()
