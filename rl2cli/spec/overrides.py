"""Settings given on the command line: `--set a.b=VALUE`, and the short options that set one key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rl2cli.spec.locate import Path
from rl2cli.spec.problems import Problem, SpecError
from rl2cli.spec.source import Finding, Source, dotted
from rl2cli.spec.toml import parse_source

SHORT_OPTIONS = {"seed": "--seed", "total_frames": "--frames", "device": "--device"}
"""Key of the run spec → the command-line option that sets it."""


@dataclass(frozen=True)
class Override:
    """One setting from the command line, which wins over the file's."""

    path: Path
    value: Any
    source: Source
    is_short: bool = False
    """Its text is the bare value of a short option, not `key=VALUE`."""

    def place(self, finding: Finding) -> Problem:
        """Return `finding` as a problem of this argument."""
        if self.is_short:
            return self.source.problem(finding.message, hint=finding.hint, key=dotted(finding.path))
        return self.source.place(finding)

    def covers(self, path: Path) -> bool:
        """Return whether the setting at `path` was given by this argument."""
        return path[: len(self.path)] == self.path

    def apply(self, data: dict[str, Any]) -> None:
        """Set the value in `data`, making tables on the way.

        Raises:
            SpecError: Something on the way is not a table.
        """
        table = data
        for depth, name in enumerate(self.path[:-1], start=1):
            found = table.setdefault(str(name), {})
            if not isinstance(found, dict):
                above = dotted(self.path[:depth])
                message = f"{above!r} is not a table, so nothing in it can be set"
                finding = Finding(self.path, message, f"`rl2 explain {above}` says what it takes", at_key=True)
                raise SpecError([self.place(finding)])
            table = found
        table[str(self.path[-1])] = self.value


def parse_override(text: str) -> Override:
    """Return what the argument of one `--set` sets.

    Raises:
        SpecError: It is not `key=VALUE` with a TOML value.
    """
    source = Source("--set", text, is_argument=True)
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or "\n" in text or text.lstrip().startswith(("[", "#")):
        raise SpecError([source.problem("expected key=VALUE", hint="for example --set env.num_envs=16")])
    try:
        data = parse_source(source)
    except SpecError as error:
        raise _with_quoting_hint(error, key, value.strip()) from None
    path = source.locations.only_key() or ()
    for name in path:
        data = data[str(name)]
    return Override(path, data, source)


def short_override(key: str, value: object) -> Override:
    """Return what `--seed`, `--frames` or `--device` sets."""
    return Override((key,), value, Source(SHORT_OPTIONS[key], str(value), is_argument=True), is_short=True)


def _with_quoting_hint(error: SpecError, key: str, value: str) -> SpecError:
    """Return `error` with the quoted form as its hint where a bare word was given."""
    if not value or value[0] in "\"'[{" or not error.problems[0].message.startswith("this is not TOML"):
        return error
    found = error.problems[0]
    known = {"True": "true", "False": "false"}.get(value, f'"{value}"')
    quoted = f"'{known}'" if known.startswith('"') else known
    start = (found.source or "").index("=") + 2
    message = f"{value!r} is not a TOML value"
    quotes = f"text needs quotes, and the shell takes away one pair: --set {key}={quoted}"
    hint = quotes if known.startswith('"') else f"write --set {key}={known}"
    return SpecError([Problem(message, hint, found.file, key, None, start, len(found.source or "") + 1, found.source)])
