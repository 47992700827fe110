"""Every setting of a spec with the place that it is from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rl2cli.spec.locate import Locations, Node, Path
from rl2cli.spec.settings import DEFAULT

if TYPE_CHECKING:
    from rl2cli.spec import LoadedSpec

MOST_INDENT = 40
"""Longer lines have their comment right behind them."""


def with_origins(loaded: LoadedSpec) -> list[str]:
    """Return the lines of the whole spec as TOML; a comment behind each setting says where it is from."""
    from rl2cli.spec import dump_spec

    lines = dump_spec(loaded.spec).rstrip("\n").split("\n")
    locations = Locations("\n".join(lines))
    for path in _settings(locations.root):
        span = locations.key(path)
        assert span is not None
        assert loaded.settings is not None
        lines[span.line - 1] = f"{lines[span.line - 1]:<{MOST_INDENT}}  # {loaded.settings.origin(path)}"
    return lines


def origins(loaded: LoadedSpec) -> dict[str, str]:
    """Return the place that each setting is from, by its dotted key."""
    from rl2cli.spec import dump_spec
    from rl2cli.spec.source import dotted

    assert loaded.settings is not None
    paths = _settings(Locations(dump_spec(loaded.spec)).root)
    return {dotted(path): loaded.settings.origin(path) for path in paths}


def counted(loaded: LoadedSpec) -> str:
    """Return how many settings each file has given, and the command line: `3 settings from own.toml, 5 from …`."""
    places = [place for place in origins(loaded).values() if place != DEFAULT]
    counts = Counter(place.rpartition(":")[0] or place for place in places)
    parts = [f"{count} from {place}" for place, count in counts.items()]
    return "settings: " + ", ".join(parts)


def _settings(node: Node, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every key with a value; not what lies inside the value."""
    for name, child in node.children.items():
        if child.value is not None:
            yield (*path, name)
        else:
            yield from _settings(child, (*path, name))
