"""The rows of `rl2 bench`, measured for real: `pytest -m benchmark`, on a quiet machine."""

from __future__ import annotations

import sys

import pytest

from rl2cli.benchmarks.peer import find_peer
from rl2cli.benchmarks.rows import ROWS, Bench, measure
from rl2cli.spec import shipped_folder

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(shipped_folder() / "cartpole.toml", find_peer(None), lambda line: print(line, file=sys.stderr))


@pytest.mark.parametrize("name", ROWS)
def test_row_reaches_what_it_must(bench: Bench, name: str) -> None:
    found = measure(bench, name)
    assert {
        comparison.name: (comparison.verdict, comparison.error) for comparison in found if _is_short(comparison.verdict)
    } == {}
    if any(comparison.verdict == "not compared" for comparison in found):
        pytest.skip("set RL2_PEER_PYTHON to an interpreter that has stable-baselines3")


def _is_short(verdict: str) -> bool:
    return verdict in ("missed", "failed")
