"""The tables of `rl2cli/SCALE.md` are what the model makes of the numbers above them."""

from __future__ import annotations

import json

import pytest
from scale_table import FAILURES, PAGE, SPEEDS, TABLE, settings, table, with_bench, with_tables

TEXT = PAGE.read_text(encoding="utf-8")
SETTINGS = settings(TEXT)
NAMES = [*SETTINGS["cases"], "failures"]
AGAIN = "python tests/docs/scale_table.py"


def test_the_page_has_every_table() -> None:
    assert [match[1] for match in TABLE.finditer(TEXT)] == NAMES
    assert SETTINGS["runs"]["workers"] == [10, 100, 1_000, 10_000]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_rows_are_those_of_the_model(name: str) -> None:
    written = next(match[2] for match in TABLE.finditer(TEXT) if match[1] == name)
    made = table(SETTINGS, name, most_workers=100)
    assert written.startswith(made), AGAIN
    assert made.count("\n") == (FAILURES if name == "failures" else SPEEDS).count("\n") + 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_is_that_of_the_model() -> None:
    assert with_tables(TEXT) == TEXT, AGAIN


def test_what_was_measured_is_written_to_the_page() -> None:
    costs = {name: [0.125] for name in SETTINGS["measured"]}
    runs = {"frames/s, expected": [210.4], "frames/s, measured": [198.0, 202.0]}
    rows = [{"name": f"scale, {count}", "ours": 5.2, "details": costs | runs} for count in ("1 worker", "2 workers")]
    machine = {"cpu": "A processor", "cores": 2}
    bench = {"rows": rows, "machine": machine, "warning": "this machine is not idle"}
    changed = with_bench(TEXT, json.loads(json.dumps(bench)))
    assert settings(changed)["measured"] == dict.fromkeys(SETTINGS["measured"], 0.125)
    assert settings(changed)["cases"] == SETTINGS["cases"]
    assert "\nA processor, 2 cores; this machine is not idle:\n" in changed
    assert "| 2 workers | 210 | 200 | 5 % |" in changed
    assert changed.replace("0.125", "").count("  #") == TEXT.count("  #")
