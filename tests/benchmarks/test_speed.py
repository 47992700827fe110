"""The rows of `rl2 bench`, measured for real: `pytest -m benchmark`, on a quiet machine.

Each has to reach its bar in `rl2cli.benchmarks.rows`. The long ones are asked for by name: `rl2 bench sac-halfcheetah`.
"""

from __future__ import annotations

import sys

import pytest

from rl2cli.benchmarks.bench import Bench
from rl2cli.benchmarks.peer import find_peer
from rl2cli.benchmarks.rows import ROWS, measure
from rl2cli.spec import shipped_folder

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(shipped_folder(), find_peer(None), lambda line: print(line, file=sys.stderr))


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.by_default])
def test_row_reaches_what_it_must(bench: Bench, name: str) -> None:
    found = measure(bench, name)
    assert {
        comparison.name: (comparison.verdict, comparison.error) for comparison in found if _is_short(comparison.verdict)
    } == {}
    if any(comparison.verdict == "not compared" for comparison in found):
        pytest.skip("set RL2_PEER_PYTHON to an interpreter that has stable-baselines3 and sbx-rl")


def _is_short(verdict: str) -> bool:
    return verdict in ("missed", "failed")
