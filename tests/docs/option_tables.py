"""The README's tables of options, made from the code: `python tests/docs/option_tables.py` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

from rl2cli.algorithms.replay_options import ReplayOptions
from rl2cli.algorithms.schedules import Schedule
from rl2cli.envs.gymnasium_options import AtariOptions
from rl2cli.envs.omniverse import options as omniverse
from rl2cli.options import Options
from rl2cli.registry import adapters, algorithms, networks
from rl2cli.spec.describe import OptionRow, option_rows
from rl2cli.spec.model import RunSpec

README = Path(__file__).resolve().parents[2] / "README.md"
MODELS: dict[str, type[Options]] = {
    "run": RunSpec,
    **{
        entry.name: registry.options(entry.name)
        for registry in (algorithms, networks, adapters)
        for entry in registry.entries()
        if entry.origin == "built in"
    },
    "atari": AtariOptions,
    "omniverse_action": omniverse.ActionOptions,
    "omniverse_observation": omniverse.ObservationTerm,
    "omniverse_reward": omniverse.RewardTerm,
    "omniverse_termination": omniverse.TerminationTerm,
    "omniverse_reset": omniverse.ResetTerm,
    "omniverse_camera": omniverse.CameraOptions,
    "replay": ReplayOptions,
    "schedule": Schedule,
}
TABLE = re.compile(r"<!-- options: (\w+) -->\n(.*?)<!-- end of options -->", re.DOTALL)
HEADING = "| option | takes | default | what it does |\n| --- | --- | --- | --- |\n"


def option_table(name: str) -> str:
    """Return the Markdown table of the options of `name`, a key of MODELS; of those that it inherits, what differs."""
    model = MODELS[name]
    base = model.__base__
    shared = option_rows(base) if base is not None and issubclass(base, ReplayOptions) else []
    rows = [
        row
        for row in option_rows(model)
        if row not in shared and (row.type != "table" or row.name in ("kwargs", "scale.resources"))
    ]
    if name == "run":
        rows = [row for row in rows if not row.name.startswith("critic_network.")]
    else:
        rows = [row for row in rows if "." not in row.name]  # a schedule's keys have a table of their own
    return HEADING + "".join(map(_line, rows))


def with_tables(text: str) -> str:
    """Return the README's text with every table as the code has it."""
    return TABLE.sub(
        lambda match: f"<!-- options: {match[1]} -->\n{option_table(match[1])}<!-- end of options -->", text
    )


def _line(row: OptionRow) -> str:
    takes = ", ".join(filter(None, (row.type, row.allowed)))
    default = row.default if row.default in ("", "required") else f"`{row.default}`"
    if row.name == "name":
        default = "the file's name"  # required of a RunSpec, but never of a file
    cells = (f"`{row.name}`", takes, default, row.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
