"""What each argument and option may be: names of runs, plugins and settings, files, and the words that rl2 knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl2cli.cli.completion import Candidate
from rl2cli.errors import RL2Error
from rl2cli.plugins import schema_cache

if TYPE_CHECKING:
    from rl2cli.registry import Registry

OUTPUTS = Path("outputs")
MOST_FILES = 500


@dataclass
class Line:
    """A command line as far as the cursor."""

    command: str
    arguments: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)
    """Values of each parameter that was given, by its name."""
    waiting: str | None = None
    """The option whose value the cursor is in."""
    only_arguments: bool = False
    """Whether a `--` stands before."""


Source = Callable[[Line, str], Iterable[Candidate]]


def values(line: Line, parameter: str, incomplete: str) -> list[Candidate]:
    """Return what the parameter of that name may be; nothing where anything may, or something is in the way."""
    source = SOURCES.get((line.command, parameter)) or SOURCES.get(("", parameter))
    if source is None:
        return []
    with suppress(RL2Error, OSError, ValueError), schema_cache.preferred():
        return list(source(line, incomplete))
    return []


def words(*known: str) -> Source:
    """Return a source of fixed words."""
    return lambda line, incomplete: map(Candidate, known)


def files(line: Line, incomplete: str, suffix: str = "") -> Iterator[Candidate]:
    """Yield the files and folders that begin like `incomplete`; hidden ones where it asks for them."""
    typed, _, start = incomplete.rpartition("/")
    folder = Path(os.path.expanduser(f"{typed}/") if "/" in incomplete else ".")
    prefix = f"{typed}/" if "/" in incomplete else ""
    with suppress(OSError), os.scandir(folder) as entries:
        found = sorted((each for each in entries if each.name.startswith(start)), key=lambda each: each.name)
        for each in found[:MOST_FILES]:
            if each.name.startswith(".") and not start.startswith("."):
                continue
            if each.is_dir():
                yield Candidate(f"{prefix}{each.name}/")
            elif each.name.endswith(suffix):
                yield Candidate(f"{prefix}{each.name}")


def specs(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield spec files here, and those that come with rl2."""
    from rl2cli.spec.shipped import shipped_specs

    for each in files(line, incomplete, ".toml"):
        if each.value not in ("rl2.toml", "pyproject.toml"):
            yield each
    yield from (Candidate(path, "comes with rl2") for path in shipped_specs())


def runs(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield what names a run: latest, folders under outputs, and any path."""
    yield Candidate("latest", "the last run under outputs")
    if "/" not in incomplete:
        yield from (Candidate(each.name) for each in _folders(OUTPUTS))
    if incomplete:
        yield from (each for each in files(line, incomplete) if each.value.endswith("/"))
    elif OUTPUTS.is_dir():
        yield Candidate(f"{OUTPUTS}/")


def checkpoints(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield the names of the run's checkpoints: best, last, and their frames, newest first."""
    yield Candidate("best", "the checkpoint with the best evaluation")
    yield Candidate("last", "the newest checkpoint")
    run = run_folder(line.arguments[0] if line.arguments else "latest")
    if run is not None:
        names = [each.name for each in _folders(run / "checkpoints") if each.name.isdecimal()]
        yield from (Candidate(str(int(name)), "frames") for name in sorted(names, reverse=True))


def shown(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield what `rl2 show` takes: plugins, runs, specs."""
    if "/" not in incomplete:
        for registry in _registries():
            yield from _plugins(registry)
    yield from runs(line, incomplete)
    yield from specs(line, incomplete)


def checked(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield what `rl2 check-env` takes: backends and specs."""
    from rl2cli.registry import adapters

    for each in _plugins(adapters):
        takes_id = each.value in ("gymnasium", "torchrl")
        yield Candidate(f"{each.value}:" if takes_id else each.value, each.summary)
    yield from specs(line, incomplete)


def registered(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield the names that are kept, which `rl2 register remove` forgets."""
    from rl2cli.plugins.lookup import kept_files

    for kept, _ in kept_files():
        yield from (Candidate(each.name, f"{each.kind}, {each.target}") for each in kept.registrations)


def targets(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield modules beside `rl2.toml`, and behind `module:` its classes, read from the text and not imported."""
    import ast

    from rl2cli.plugins.kept import project_file

    project = project_file()
    folder = Path() if project is None else project.parent
    module, colon, _ = incomplete.partition(":")
    if not colon:
        for path in sorted(folder.glob("*.py"))[:MOST_FILES]:
            if path.stem.isidentifier() and not path.stem.startswith(("test_", "_")):
                yield Candidate(f"{path.stem}:")
        return
    with suppress(OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        if path.stat().st_size < 1_000_000:
            tree = ast.parse(path.read_bytes())
            yield from (Candidate(f"{module}:{each.name}") for each in tree.body if isinstance(each, ast.ClassDef))


def modules(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield modules beside `rl2.toml`."""
    yield from (Candidate(each.value.rstrip(":")) for each in targets(line, incomplete.replace(":", "")))


def kinds(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield what `rl2 list` lists."""
    from rl2cli.cli.list import KINDS

    yield from map(Candidate, KINDS)


def templates(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield what `rl2 init` begins with."""
    from rl2cli.cli.init import templates as known
    from rl2cli.cli.spec_text import opening_comment

    for name, path in known().items():
        yield Candidate(name, opening_comment(path.read_text(encoding="utf-8")))


def bench_rows(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield the rows of `rl2 bench`."""
    from rl2cli.benchmarks.rows import ROWS

    yield from map(Candidate, ROWS)


def keys(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield every setting, for `rl2 explain`."""
    from rl2cli.cli.completion_settings import all_settings

    yield from all_settings()


def overrides(line: Line, incomplete: str) -> Iterator[Candidate]:
    """Yield `key=`, and behind it the values of a key that has few."""
    from rl2cli.cli.completion_settings import settings

    yield from settings(line, incomplete)


def _registries() -> list[Registry]:
    from rl2cli.registry import adapters, algorithms, networks

    return [algorithms, networks, adapters]


def _plugins(registry: Any) -> Iterator[Candidate]:
    yield from (Candidate(entry.name, registry.summary(entry)) for entry in registry.entries())


def _folders(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return sorted(Path(each.path) for each in entries if each.is_dir() and not each.name.startswith("."))
    except OSError:
        return []


def run_folder(where: str) -> Path | None:
    """Return the folder of the run that is meant, as far as names alone tell."""
    found = [Path(where), OUTPUTS / where] if where != "latest" else [OUTPUTS]
    for folder in found:
        inside = [folder, *_folders(folder), *(deeper for each in _folders(folder) for deeper in _folders(each))]
        runs = [each for each in inside if (each / "checkpoints").is_dir()]
        if runs:
            return max(runs, key=lambda each: each.name)
    return None


SOURCES: dict[tuple[str, str], Source] = {
    ("", "spec"): specs,
    ("", "specs"): specs,
    ("", "run"): runs,
    ("", "runs"): runs,
    ("", "overrides"): overrides,
    ("", "checkpoint"): checkpoints,
    ("", "device"): words("auto", "cpu", "cuda", "mps"),
    ("", "run_dir"): files,
    ("", "out"): files,
    ("", "target"): targets,
    ("", "allow_import"): modules,
    ("register-module", "module"): modules,
    ("infer", "mode"): words("benchmark", "watch", "record"),
    ("infer", "video_format"): words("mp4", "gif"),
    ("infer", "view"): words("auto", "window", "terminal"),
    ("infer", "grid"): words("1x2", "2x2", "2x3", "3x3"),
    ("export", "format"): words("onnx", "torch"),
    ("compare", "axis"): words("frames", "time"),
    ("compare", "metric"): words(
        "evaluation/mean_return", "evaluation/stochastic_mean", "rollout/return_mean", "rollout/length_mean"
    ),
    ("list", "kind"): kinds,
    ("show", "what"): shown,
    ("check-env", "what"): checked,
    ("explain", "key"): keys,
    ("init", "template"): templates,
    ("init", "file"): files,
    ("register-remove", "name"): registered,
    ("register-remove", "kind"): words("adapter", "network", "algorithm", "module"),
    ("register-trust", "where"): files,
    ("bench", "rows"): bench_rows,
    ("bench", "peer_python"): files,
}
"""Of a parameter of one command, or of every command that has one of that name."""

ANYTHING = frozenset(
    ["seed", "seeds", "frames", "episodes", "fps", "name", "time_limit", "num_envs", "steps", "repeats", "containing"],
)
"""Parameters of which nothing can be known."""
