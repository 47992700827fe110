"""Looking at a plugin in a process of its own, so that nothing it does at import reaches this one."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl2cli.errors import MissingDependencyError, PluginError
from rl2cli.interpreter import python_module
from rl2cli.plugins import schema_cache
from rl2cli.plugins.schema_cache import Description
from rl2cli.text import printable

TIME_LIMIT = 120.0
_LAST_LINES = 8
_PROCESS = "rl2cli.checks.plugin_process"


class RefusedPluginError(PluginError):
    """A plugin that does not work; `frames` are its own lines, as (file, line, function, source)."""

    def __init__(self, message: str, *, hint: str | None, frames: list[tuple[str, int, str, str]]) -> None:
        super().__init__(message, hint=hint)
        self.frames = frames


@dataclass(frozen=True)
class Inspected:
    """What was seen of a plugin that works."""

    file: str
    """Where its class is written; of a module, the module's file."""
    description: Description | None = None
    """None of a module."""
    notes: list[str] = field(default_factory=list)
    """What could not be tried out, and why."""


def inspect_plugin(
    kind: str, target: str, folder: Path | str | None, *, build: bool, seconds: float = TIME_LIMIT
) -> Inspected:
    """Import a plugin, check its class and, with `build`, try it out; keep what is known of its options.

    Raises:
        PluginError: It does not work; the message says which part.
        MissingDependencyError: A package that it imports is not installed.
    """
    folder = None if folder is None else str(folder)
    with tempfile.TemporaryDirectory(prefix="rl2-") as room:
        answer = Path(room, "answer.json")
        task = {"kind": kind, "target": target, "folder": folder, "build": build, "answer": str(answer)}
        report = _run(task, answer, f"{kind} {target}", seconds)
    if "message" in report:
        raise _refusal(report)
    described = report.get("description")
    description = Description(**described) if described else None
    if description is not None:
        schema_cache.save(kind, target, folder, description)
    return Inspected(report["file"], description, report["notes"])


def describe(kind: str, target: str, folder: str | None) -> Description:
    """Return what is known of a plugin; it is looked at anew where its files have changed.

    Raises:
        PluginError: It does not work.
        MissingDependencyError: A package that it imports is not installed.
    """
    known = schema_cache.load(kind, target, folder)
    if known is not None:
        return known
    found = inspect_plugin(kind, target, folder, build=False).description
    assert found is not None
    return found


def _run(task: dict[str, Any], answer: Path, what: str, seconds: float) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [*python_module(_PROCESS), json.dumps(task)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PluginError(
            f"{what}: importing and trying it took more than {seconds:g} seconds",
            hint="does it wait for something at import? --time-limit SECONDS gives it more time",
        ) from None
    except OSError as error:
        raise PluginError(
            f"{what}: {sys.executable} could not be started: {error.strerror}",
            hint="is memory left, and may it be run?",
        ) from error
    try:
        report: dict[str, Any] = json.loads(answer.read_bytes())
    except (OSError, ValueError):
        lines = done.stdout.decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
        said = "; its last words: " + printable(" | ".join(lines)) if lines else ""
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise PluginError(
            f"{what}: importing or trying it ended Python with {how}{said}",
            hint="a plugin may not end its process: look for sys.exit, os._exit, or native code that crashes",
        ) from None
    return report


def _refusal(report: dict[str, Any]) -> PluginError | MissingDependencyError:
    if report["missing"]:
        return MissingDependencyError(report["message"], hint=report["hint"])
    frames = [(str(file), int(line), str(function), str(source)) for file, line, function, source in report["frames"]]
    return RefusedPluginError(report["message"], hint=report["hint"], frames=frames)
