"""Every error that rl2 raises on purpose, with the exit code its command ends with.

RL2Error                          1  the run failed
├── UsageError                    2  spec, option, argument, a run folder held by another process
│   ├── SpecError                 2  every problem of a run spec at once, each with its place
│   └── PluginError               2  a name, module or class of a plugin that does not work
├── EnvironmentFault              3  an environment died, raised, hung or broke its contract
├── NonFiniteError                4  NaN or infinity, wherever from
├── StorageError                  5  disk full, read-only, I/O
├── NoCheckpointError             6  no valid checkpoint
├── MissingDependencyError        7  an optional package is not installed
└── Stopped                   128+n  stopped by signal n after saving
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class RL2Error(Exception):
    """A failure that is explained to the user in `message`, with what would be right in `hint`.

    `place` says where, as `file:line:column` or the name of a setting.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, place: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place


class UsageError(RL2Error):
    """Bad input: an option, an argument, a file, or a run folder held by another process."""

    exit_code = 2


class PluginError(UsageError):
    """A plugin's name, module or class does not work; `message` says which part."""


class EnvironmentFault(RL2Error):
    """An environment died, raised, hung past its limit or broke the adapter contract."""

    exit_code = 3


class NonFiniteError(RL2Error):
    """A number is NaN or infinite; `message` names the tensor, where it came from and the step.

    `tensors` are those it was found in, by name, for the report that a run leaves.
    """

    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        place: str | None = None,
        tensors: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, place=place)
        self.tensors = tensors or {}


class StorageError(RL2Error):
    """The disk refused: full, read-only or an I/O error."""

    exit_code = 5


class NoCheckpointError(RL2Error):
    """No checkpoint of the run can be loaded."""

    exit_code = 6


class MissingDependencyError(RL2Error):
    """An optional package is not installed; `hint` is the pip line."""

    exit_code = 7


class Stopped(RL2Error):
    """The run was stopped by a signal after its last finished iteration was saved; `summary` says how far it got."""

    def __init__(
        self, message: str, *, signal_number: int, hint: str | None = None, summary: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.signal_number = signal_number
        self.summary = summary or {}
        self.exit_code = 128 + signal_number


class Interrupted(KeyboardInterrupt):
    """A signal came while there was nothing to save; no `Exception`, so that nothing takes it for a fault."""

    def __init__(self, message: str, *, signal_number: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.signal_number = signal_number
        self.hint = hint


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of the `known` names that look most like `name`, best first."""
    import difflib  # nothing but an error needs it

    by_folded = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), by_folded, n=count, cutoff=0.6)
    return [by_folded[match] for match in matches]


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """Return a `did you mean` hint for `name`, or None where nothing is near."""
    matches = nearest(name, known)
    return f"did you mean {' or '.join(repr(match) for match in matches)}?" if matches else None
