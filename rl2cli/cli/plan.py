"""What `rl2 train --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rl2cli.cli.output import emit_json, emit_lines

if TYPE_CHECKING:
    from rl2cli.spec import LoadedSpec
    from rl2cli.training.learners.place import Place


def print_plan(loaded: LoadedSpec, place: Place | None = None, *, as_json: bool) -> None:
    """Build what `loaded` says and print its shapes, sizes and every automatic choice."""
    from rl2cli.training.session import describe_plan

    plan = describe_plan(loaded, place)
    if as_json:
        emit_json(plan)
        return
    emit_lines(_lines(plan))


def _lines(table: dict[str, object], indent: str = "") -> list[str]:
    lines = []
    width = max((len(key) for key in table), default=0) + 2
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        elif isinstance(value, (list, tuple)) and any(isinstance(item, str) for item in value):
            lines += [f"{indent}{key if index == 0 else '':<{width}}{item}" for index, item in enumerate(value)]
        else:
            lines.append(f"{indent}{key:<{width}}{_text(value)}")
    return lines


def _text(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
