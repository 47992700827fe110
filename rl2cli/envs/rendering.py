"""What drawing an environment needs: a render mode that it has, and a backend where there is no display."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rl2cli.envs.advice import UNSEEN
from rl2cli.errors import UsageError

PICTURES = "rgb_array"
"""Gymnasium's render mode that gives pictures as arrays."""
WINDOW = "human"
"""Gymnasium's render mode that opens a window."""
_GL_LIBRARIES = {"egl": ("libEGL.so.1", "libEGL.so"), "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")}


def has_display() -> bool:
    """Return whether a window can be opened here: on Linux, whether the session names a display."""
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def prepare_drawing() -> None:
    """Let SDL and MuJoCo draw without a display, where there is none; what the user has set stays.

    Has an effect on backends that are imported or begin to draw later.
    """
    if has_display():
        return
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    if "MUJOCO_GL" not in os.environ:
        found = next((name for name, files in _GL_LIBRARIES.items() if any(map(_loads, files))), None)
        if found is not None:
            os.environ["MUJOCO_GL"] = found


def require_mode(env_id: str, metadata: object, render_mode: str) -> None:
    """Check that an environment with this Gymnasium metadata can draw as `render_mode` says.

    Raises:
        UsageError: It cannot; the message names the modes that it has.
    """
    modes = render_modes(metadata)
    if render_mode in modes or (render_mode == WINDOW and PICTURES in modes):
        return
    what = "open a window" if render_mode == WINDOW else "draw pictures"
    raise UsageError(
        f"{env_id} cannot {what}: it has {_listed(modes)}",
        hint=f"an environment that is to be seen needs the render mode {PICTURES!r}, in its metadata['render_modes']; "
        f"{UNSEEN}",
    )


def render_modes(metadata: object) -> list[str]:
    """Return the render modes that a Gymnasium environment's metadata names."""
    named: Any = metadata.get("render_modes") if isinstance(metadata, Mapping) else None
    return [str(mode) for mode in named] if isinstance(named, Iterable) and not isinstance(named, str) else []


def pictures_per_second(metadata: object) -> float | None:
    """Return `render_fps` of a Gymnasium environment's metadata, or None where it says nothing sensible."""
    named: Any = metadata.get("render_fps") if isinstance(metadata, Mapping) else None
    return float(named) if isinstance(named, int | float) and 0 < named < 1e4 else None


def _listed(modes: list[str]) -> str:
    if not modes:
        return "no render modes"
    return ("the render modes " if len(modes) > 1 else "only the render mode ") + ", ".join(modes)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
