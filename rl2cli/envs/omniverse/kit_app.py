"""The start of Isaac Sim's Kit, which comes before anything that imports what Kit brings."""

from __future__ import annotations

import functools
import signal
import sys
from typing import Any

from rl2cli.envs.isaac.installation import has_isaac_sim, require_licence
from rl2cli.envs.isaac.quiet import chatter_kept, divert_foreign_stdout
from rl2cli.errors import EnvironmentFault, MissingDependencyError


@functools.cache
def start_kit() -> Any:
    """Return the app of Isaac Sim, without a window; it lives as long as the process.

    Whatever Kit brings is imported after this, USD's library included.

    Raises:
        MissingDependencyError: Isaac Sim is not installed, or the user has not accepted its licence.
        EnvironmentFault: USD's library was imported before, or Kit does not start.
    """
    if not has_isaac_sim():
        raise MissingDependencyError(
            "engine 'isaacsim' needs Isaac Sim, which is not installed",
            hint="it comes from NVIDIA's own package index, see its documentation; "
            'engine = "ovphysx" under [env] needs none',
        )
    require_licence()
    if "pxr" in sys.modules:
        raise EnvironmentFault(
            "USD's library, pxr, was imported before Isaac Sim's Kit started, which brings its own",
            hint="import it in your function, not at the top of its module",
        )
    divert_foreign_stdout()
    try:
        with chatter_kept():
            return _started()
    except Exception as error:
        raise EnvironmentFault(
            f"Isaac Sim's Kit did not start: {error}",
            hint="it asks for an RTX GPU and NVIDIA's driver; `isaacsim` alone shows whether it starts",
        ) from error


def _started() -> Any:
    """Start the app; it would take rl2's arguments for its own, and Ctrl-C away from rl2."""
    from isaacsim import SimulationApp

    arguments, on_interrupt = sys.argv, signal.getsignal(signal.SIGINT)
    sys.argv = arguments[:1]
    try:
        # a fast shutdown ends the process itself, with status 0 whatever rl2's is
        return SimulationApp({"headless": True, "fast_shutdown": False})
    except SystemExit as error:
        raise RuntimeError(f"it ended with status {error.code}") from error
    finally:
        sys.argv = arguments
        signal.signal(signal.SIGINT, on_interrupt)
