"""Runs that differ only in their seed, as one group, and what the groups differ in as their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rl2cli.results.run_record import RunRecord
from rl2cli.text import shortened

_WITHOUT_EFFECT = {"name", "seed", "device", "threads", "compile", "env.workers"}
_WITHOUT_EFFECT |= {f"evaluation.{key}" for key in ("every", "episodes", "stochastic_episodes")}
"""Settings that say which run it is, how its machine computes or when it is measured, not what is learned."""
_TABLES_WITHOUT_EFFECT = ("logging", "checkpoint", "video")
_IDENTITY = ("env.id", "algorithm.name", "network.name")
_MOST_SHOWN = 3
_MOST_CHARACTERS = 60

Settings = dict[str, str]


@dataclass
class Group:
    """Runs of one spec with different seeds."""

    runs: list[RunRecord]
    settings: Settings
    label: str = ""
    left_out: list[str] = field(default_factory=list)
    """Why runs of the same settings do not count, in words."""

    @property
    def first(self) -> RunRecord:
        """One of the runs, for what they share."""
        return self.runs[0]


def grouped(runs: Sequence[RunRecord]) -> list[Group]:
    """Return the runs by what they learned with, in the order given, each group with its label.

    A seed counts once: a run of the same settings and seed would look like another sample and is none.
    """
    by_settings: dict[object, Group] = {}
    for run in runs:
        settings = settings_that_matter(run.settings)
        key = tuple(sorted(settings.items())) or str(run.path.absolute())
        _add(by_settings.setdefault(key, Group([], settings)), run)
    groups = list(by_settings.values())
    for group, label in zip(groups, labels(groups), strict=True):
        group.label = label
    return groups


def settings_that_matter(settings: dict[str, Any]) -> Settings:
    """Return the settings that two runs have to share to be samples of the same thing: dotted name → TOML value."""
    found: Settings = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= {
                f"{name}.{key}": in_toml(item) for key, item in value.items() if name not in _TABLES_WITHOUT_EFFECT
            }
        else:
            found[name] = in_toml(value)
    return {name: value for name, value in found.items() if name not in _WITHOUT_EFFECT}


def labels(groups: Sequence[Group]) -> list[str]:
    """Return what each group has that the others do not have; where that is nothing, what it is."""
    identities = [_identity(group) for group in groups]
    shown = [name for index, name in enumerate(_IDENTITY) if len({identity[index] for identity in identities}) > 1]
    found = []
    for group, identity in zip(groups, identities, strict=True):
        alike = [other for other, one in zip(groups, identities, strict=True) if one == identity]
        parts = [_text(group.settings[name]) for name in shown if name in group.settings]
        found.append(", ".join([*parts, *_differences(group, alike)]) or _what(group))
    return _told_apart(found, groups)


def in_toml(value: object) -> str:
    """Return a setting as one would write it, without line breaks."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {in_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(in_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _add(group: Group, run: RunRecord) -> None:
    same = next((other for other in group.runs if other.seed == run.seed and run.seed is not None), None)
    if same is None:
        group.runs.append(run)
        return
    kept, left = (run, same) if (run.frames or 0) > (same.frames or 0) else (same, run)
    group.runs[group.runs.index(same)] = kept
    group.left_out.append(f"{left.path}: {kept.path} has the same settings and seed, and no fewer frames")


def _identity(group: Group) -> tuple[str, ...]:
    return tuple(group.settings.get(name, "") for name in _IDENTITY)


def _differences(group: Group, alike: Sequence[Group]) -> list[str]:
    names = {name: None for one in alike for name in one.settings}  # in the order of the file
    differing = [name for name in names if len({one.settings.get(name) for one in alike}) > 1]
    last_parts = Counter(name.rpartition(".")[2] for name in differing)
    shown = []
    for name in differing[:_MOST_SHOWN]:
        last = name.rpartition(".")[2]
        value = group.settings.get(name)
        shown.append(f"{last if last_parts[last] == 1 else name} {'not set' if value is None else f'= {_text(value)}'}")
    more = len(differing) - len(shown)
    return [*shown, *([f"{more} more differ"] if more else [])]


def _what(group: Group) -> str:
    run = group.first
    return f"{run.environment}, {run.algorithm}" if group.settings else run.name


def _told_apart(found: Sequence[str], groups: Sequence[Group]) -> list[str]:
    """Add the folder's name to labels that several groups have."""
    times = Counter(found)
    return [
        label if times[label] == 1 else f"{label} ({group.first.path.name})"
        for label, group in zip(found, groups, strict=True)
    ]


def _text(value: str) -> str:
    is_plain = value.startswith('"') and value.endswith('"') and len(value) > 2
    return shortened(value[1:-1] if is_plain else value, _MOST_CHARACTERS)


def _number(value: float) -> str:
    """Return the shortest text of a number, with a short exponent: `3e-4`."""
    mantissa, mark, exponent = f"{value!r}".partition("e")
    if mark:
        return f"{mantissa}e{int(exponent)}"
    short = f"{value:e}".partition("e")
    digits = short[0].rstrip("0").rstrip(".")
    scientific = f"{digits}e{int(short[2])}"
    return scientific if abs(value) < 0.01 and value != 0 and float(scientific) == value else repr(value)
