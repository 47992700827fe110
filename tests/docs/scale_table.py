"""The tables of `rl2cli/SCALE.md`, simulated with its numbers: `python tests/docs/scale_table.py` writes them anew.

With a file that `rl2 bench scale --json` wrote, its costs and real runs are written to the page before.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import fields, replace
from pathlib import Path
from statistics import median
from typing import Any

import tomli

from rl2cli.benchmarks.scale_costs import Costs, Size
from rl2cli.benchmarks.scale_model import Forecast, seconds_lost, simulate

PAGE = Path(__file__).resolve().parents[2] / "rl2cli" / "SCALE.md"
TABLE = re.compile(r"<!-- forecast: (\w+) -->\n(.*?)<!-- end of forecast -->", re.DOTALL)
CHECK = re.compile(r"<!-- measured -->\n.*?<!-- end of measured -->", re.DOTALL)
BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ITERATIONS = 3
RATES = {"a month": 30 * 86_400.0, "a day": 86_400.0, "an hour": 3_600.0}
"""How often a host fails, and the seconds from one time to the next."""
SPEEDS = (
    "| workers | environments | frames/s, lag 0 | frames/s, lag 1 | of what its workers could | busiest with lag 1 |\n"
    "| --- | --- | --- | --- | --- | --- |\n"
)
FAILURES = (
    "| workers | hosts | s lost with a host | of the time, where each host fails once "
    + " | … ".join(RATES)
    + " |\n| --- | --- | --- | --- | --- | --- |\n"
)


def settings(text: str) -> dict[str, Any]:
    """Return what the page's tables are made of."""
    block = BLOCK.search(text)
    assert block is not None
    return tomli.loads(block[1])


def costs_and_size(page: dict[str, Any], name: str) -> tuple[Costs, Size]:
    """Return the costs of the case `name`, and the size of its runs but for the number of workers."""
    changed = page["cases"].get(name, {})
    costs = Costs.of({**page["measured"], **page["assumed"], **changed})
    known = {each.name for each in fields(Size)} - {"workers"}
    return costs, Size(1, **{key: value for key, value in page["runs"].items() if key in known})


def speed_line(costs: Costs, size: Size) -> str:
    """Return the row of a table of speeds."""
    turns, overlapped = (simulate(costs, replace(size, lag=lag), ITERATIONS) for lag in (0, 1))
    task = size.rollout_length * (size.envs_per_shard * costs.step_seconds + costs.act_seconds) + costs.task_seconds
    most = size.workers * size.task_frames / task
    cells = (
        f"{size.workers:,}",
        f"{size.shards * size.envs_per_shard:,}",
        f"{rounded(turns.frames_per_second):,}",
        f"{rounded(overlapped.frames_per_second):,}",
        f"{overlapped.frames_per_second / most:.0%}",
        _busiest(overlapped),
    )
    return "| " + " | ".join(cells) + " |\n"


def failure_line(costs: Costs, size: Size) -> str:
    """Return the row of a table of what failures cost, with lag 1."""
    lost = seconds_lost(costs, replace(size, lag=1), phases=1)
    parts = [lost * size.hosts / seconds for seconds in RATES.values()]
    shares = [f"{part / (1 + part):.1%}" for part in parts]
    return "| " + " | ".join((f"{size.workers:,}", f"{size.hosts:,}", f"{lost:.0f}", *shares)) + " |\n"


def table(page: dict[str, Any], name: str, most_workers: int | None = None) -> str:
    """Return a table as the page has it, up to so many workers."""
    case = page["runs"]["failing"] if name == "failures" else name
    costs, size = costs_and_size(page, case)
    line, heading = (failure_line, FAILURES) if name == "failures" else (speed_line, SPEEDS)
    counts = [count for count in page["runs"]["workers"] if most_workers is None or count <= most_workers]
    return heading + "".join(line(costs, replace(size, workers=count)) for count in counts)


def rounded(number: float) -> int:
    """Return a number to three digits."""
    return int(float(f"{number:.3g}"))


def _busiest(forecast: Forecast) -> str:
    (name, load), busy = forecast.bottleneck, forecast.busy
    parts = f" (updates {busy['learning']:.0%}, tasks {busy['tasks']:.0%})" if name == "learner" else ""
    return f"{name}, {min(1.0, load):.0%}{parts}"


def with_bench(text: str, bench: dict[str, Any]) -> str:
    """Return the page's text with the costs that `rl2 bench scale --json` measured, and with its real runs."""
    rows = [row for row in bench["rows"] if row["name"].startswith("scale, ")]
    for name in settings(text)["measured"]:
        rounded_cost = float(f"{rows[0]['details'][name][0]:.3g}")
        text = re.sub(rf"^{name} = .*?(?=  #|$)", f"{name} = {rounded_cost:g}", text, count=1, flags=re.MULTILINE)
    machine, warning = bench["machine"], bench["warning"]
    where = f"{machine['cpu']}, {machine['cores']} cores" + (f"; {warning}" if warning else "") + ":\n\n"
    heading = "| | frames/s expected | measured | off |\n| --- | --- | --- | --- |\n"
    lines = "".join(map(_check_line, rows))
    return CHECK.sub(lambda _: f"<!-- measured -->\n{where}{heading}{lines}<!-- end of measured -->", text)


def _check_line(row: dict[str, Any]) -> str:
    (expected,), measured = row["details"]["frames/s, expected"], median(row["details"]["frames/s, measured"])
    return f"| {row['name'].removeprefix('scale, ')} | {expected:,.0f} | {measured:,.0f} | {row['ours']:.0f} % |\n"


def with_tables(text: str) -> str:
    """Return the page's text with every table as the model has it."""
    page = settings(text)
    return TABLE.sub(lambda at: f"<!-- forecast: {at[1]} -->\n{table(page, at[1])}<!-- end of forecast -->", text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", nargs="?", type=Path, help="what `rl2 bench scale --json` wrote")
    asked = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    if asked.bench is not None:
        text = with_bench(text, json.loads(asked.bench.read_text(encoding="utf-8")))
    PAGE.write_text(with_tables(text), encoding="utf-8")
