"""Checkpoints of earlier rl2: brought to today's layout, or refused with the version that reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rl2cli import __version__
from rl2cli.errors import UsageError

WRITTEN_BY = "rl2"
"""Key of a checkpoint's metadata: the version that wrote it."""


def migrated(state: dict[str, Any]) -> dict[str, Any]:
    """Return a Trainer's state in today's layout; `state` is of any that format 1 had."""
    if "collector" in state:
        return state
    # Before rollouts had a collector of their own, acting drew from a generator of the algorithm.
    generators = dict(state["generators"])
    collector = {
        "environments": state["environments"],
        "next_is_init": state["next_is_init"],
        "explore": generators.pop("policy"),
    }
    return {"metrics": {}, **state, "generators": generators, "collector": collector}


@contextmanager
def refused_in_words(metadata: dict[str, Any]) -> Iterator[None]:
    """Turn what goes wrong while a state is restored into words: it is another rl2's.

    Raises:
        UsageError: Another version wrote the checkpoint; it is named where that is known.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        writer = metadata.get(WRITTEN_BY)
        if writer == __version__:
            raise
        known = f"rl2 {writer}" if isinstance(writer, str) else "an rl2 before 0.1.0"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"this checkpoint was written by {known}, and rl2 {__version__} cannot go on from it: {reason}",
            hint=f"resume it with {known}; `rl2 infer` may still run its policy",
        ) from error
