"""Clusters that others started, in which something is not as the learner needs it: a line with the fix, in time."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sharded_runs
from clusters import PACKAGES, Head, head, other_rl2, wrong_clock
from sharded_runs import different
from small_runs import train

from rl2cli.errors import UsageError
from rl2cli.registry import networks

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

IN_TIME = 15.0
NETWORK = "from rl2cli.networks.mlp import MLP\nclass Mine(MLP):\n    pass\n"


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a name so short that Ray's sockets fit into it."""
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network of a file that this process finds, and that is nowhere else."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "strangers_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    networks.register("mine", "strangers_network:Mine")
    yield
    networks.unregister("mine")
    sys.modules.pop("strangers_network", None)


def _join(tmp_path: Path, there: Head, monkeypatch: pytest.MonkeyPatch, token: str | None, **more: object) -> Path:
    """Train on a cluster, with a token."""
    for name, value in (("RAY_AUTH_MODE", "token"), ("RAY_AUTH_TOKEN", token)):
        monkeypatch.delenv(name, raising=False)
        if token is not None:
            monkeypatch.setenv(name, str(value))
    scale = {"engine": "ray", "workers": 1, "address": there.address, **more.pop("scale", {})}  # type: ignore[dict-item]
    return train(tmp_path, sharded_runs.spec(scale=scale, **more), "run")


def test_a_cluster_that_is_not_for_this_learner(tmp_path: Path, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = other_rl2(tmp_path / "other", version="9.9.9")
    with head(short / "ray", other) as there:
        for token, which in ((None, "a token"), ("0" * 64, "another token")):
            began = time.monotonic()
            with pytest.raises(UsageError, match=f"the Ray cluster at {there.address} asks for {which}") as caught:
                _join(tmp_path, there, monkeypatch, token)
            assert time.monotonic() - began < IN_TIME
            assert "RAY_AUTH_TOKEN" in str(caught.value.hint)
        with pytest.raises(UsageError, match="5 workers take 5 CPU, and the cluster has 2 CPU") as caught:
            _join(tmp_path, there, monkeypatch, there.token, scale={"workers": 5, "envs_per_worker": 1})
        assert "scale.workers = 2 fits" in str(caught.value.hint)
        with pytest.raises(UsageError, match=r"no worker can be used: it has rl2cli 9\.9\.9 instead of") as caught:
            _join(tmp_path, there, monkeypatch, there.token)
        assert "install the learner's versions there" in caught.value.message
        shutil.rmtree(other / "rl2cli-9.9.9.dist-info")
        with (other / "rl2cli" / "keys.py").open("a") as file:
            file.write("# edited\n")
        with pytest.raises(UsageError, match="its rl2 has the learner's version and other code"):
            _join(tmp_path, there, monkeypatch, there.token)
        gcs = there.of("gcs_server")
        gcs.suspend()
        try:
            began = time.monotonic()
            with pytest.raises(UsageError, match="nothing that is Ray answers"):
                _join(tmp_path, there, monkeypatch, there.token)
            assert time.monotonic() - began < IN_TIME
        finally:
            gcs.resume()
    assert not (tmp_path / "run").exists()


def test_a_node_without_a_plugin_and_with_a_wrong_clock(
    tmp_path: Path, short: Path, monkeypatch: pytest.MonkeyPatch, stranger: None
) -> None:
    with head(short / "ray", wrong_clock(short / "clock", -100_000.0), PACKAGES) as there:
        with pytest.raises(
            UsageError, match=r"no worker can be used: .*module 'strangers_network' not found"
        ) as caught:
            _join(tmp_path, there, monkeypatch, there.token, network={"name": "mine"})
        assert "put its file, or install its package, where it is on the learner's machine" in caught.value.message
        on_ray = _join(tmp_path, there, monkeypatch, there.token)
    assert different(train(tmp_path, sharded_runs.spec(), "local"), on_ray) == []


def test_a_cluster_of_another_ray(tmp_path: Path, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with head(short / "ray", PACKAGES, before="import ray\nray.__version__ = '2.99.0'") as there:
        with pytest.raises(UsageError, match=r"Version mismatch: .* Ray: 2\.99\.0") as caught:
            _join(tmp_path, there, monkeypatch, there.token)
        assert "install the cluster's versions of Ray and Python here, or ours there" in str(caught.value.hint)
