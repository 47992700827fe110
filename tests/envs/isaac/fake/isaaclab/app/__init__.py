"""Starting the app."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

is_running = False
arguments: dict[str, Any] = {}


@contextmanager
def launch_simulation(cfg: Any, launcher_args: dict[str, Any]) -> Iterator[None]:
    global is_running
    assert "isaaclab.envs" not in sys.modules, "the app starts before anything imports its modules"
    assert not is_running
    print("the app starts")
    arguments.update(launcher_args)
    if launcher_args.get("physics") == "isaacsim_physx":
        raise ValueError("Invalid backend combination: no Kit here")
    is_running = True
    try:
        yield
    finally:
        is_running = False
