"""The values of a spec, and where each of them was written: in a file, one that it extends, or the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from rl2cli.spec.locate import Path
from rl2cli.spec.overrides import Override
from rl2cli.spec.problems import Problem
from rl2cli.spec.source import Finding, Source, dotted

DEFAULT = "default"


@dataclass(frozen=True)
class Layer:
    """One file of a spec."""

    source: Source
    shipped: bool = False
    """It comes with rl2, found by its name."""
    kept: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Tables of which only these keys count, since a file that extends this one names another plugin."""

    left_out: Collection[str] = ()
    """Keys that hold for this file alone, not for one that extends it."""

    @property
    def label(self) -> str:
        """What to call it in a line: a shipped one as it is called in a command."""
        return f"runs/{PurePath(self.source.name).name}" if self.shipped else self.source.name

    def counts(self, path: Path) -> bool:
        """Return whether what this file says of `path` holds, if it says anything."""
        if path and path[0] in self.left_out:
            return False
        return len(path) < 2 or path[0] not in self.kept or path[1] in self.kept[str(path[0])]

    def has(self, path: Path) -> bool:
        """Return whether the setting at `path` stands in this file, and counts."""
        return self.counts(path) and self.source.locations.key(path) is not None

    def depth(self, path: Path) -> int:
        """Return how many parts of `path` lead to something in this file."""
        return max((depth for depth in range(1, len(path) + 1) if self.has(path[:depth])), default=0)


@dataclass(frozen=True)
class Settings:
    """The values of a spec, and where each came from."""

    data: dict[str, Any]
    layers: Sequence[Layer]
    """The spec's own file, the one that it extends, and so on; none of a spec given as a dict."""
    overrides: Sequence[Override]

    def place(self, finding: Finding) -> Problem:
        """Return `finding` with its place in a file or on the command line."""
        path = finding.path
        for override in reversed(self.overrides):
            if override.covers(path):
                return override.place(finding)
        layer = next((layer for layer in self.layers if layer.has(path)), None)
        for override in self.overrides:
            if layer is None and override.path[: len(path)] == path != ():
                return override.place(finding)
        if not self.layers:
            return Problem(finding.message, finding.hint, key=dotted(path))
        layer = layer or max(self.layers, key=lambda each: each.depth(path))
        return layer.source.place(finding)

    def order(self, problem: Problem) -> tuple[int, int, int]:
        """Return what problems are sorted by: file, then line and column, those of the command line last."""
        files = [layer.source.name for layer in self.layers]
        file = files.index(problem.file) if problem.line is not None and problem.file in files else len(files)
        return file, problem.line or 0, problem.column or 0

    def origin(self, path: Path) -> str:
        """Return where the value at `path` is from: `file:line`, an option of the command line, or `default`."""
        for override in reversed(self.overrides):
            if override.covers(path):
                return override.source.name
        for layer in self.layers:
            span = layer.source.locations.key(path) if layer.counts(path) else None
            if span is not None:
                return f"{layer.label}:{span.line}"
        return DEFAULT
