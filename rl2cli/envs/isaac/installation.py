"""What of Isaac Lab is installed here, found out without importing any of it. Torch-free."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os

from rl2cli.envs.isaac.options import Physics
from rl2cli.errors import MissingDependencyError

LAB = "isaaclab"
VERSION = "3.0"
"""Versions of Isaac Lab that this adapter speaks to begin so."""
INSTALL = 'pip install "rl2cli[isaac]" && pip install --no-deps --ignore-requires-python "isaaclab==3.0.0"'
"""Isaac Lab's own requirements would put torch back to 2.11 and refuse Python 3.11; the extra has what it needs."""
EULA = "OMNI_KIT_ACCEPT_EULA"
_PARTS = {"ovphysx": ("ovphysx", "ovstage"), "newton_mjwarp": ("newton", "warp"), "isaacsim": ("isaacsim",)}
_COMMON = ("warp", "newton", "pxr", "hydra", "lazy_loader")
_NAMES = {
    "isaacsim": "Isaac Sim's PhysX in Kit",
    "ovphysx": "PhysX as a library (ovphysx)",
    "newton_mjwarp": "Newton (newton_mjwarp)",
}


def missing(physics: Physics | None = None) -> list[str]:
    """Return the modules that are not installed of those that Isaac Lab, or it with `physics`, needs."""
    wanted = (LAB, f"{LAB}_tasks", *_COMMON, *(_PARTS[physics] if physics else ()))
    return [name for name in wanted if not _is_there(name)]


def require_lab() -> None:
    """Check that Isaac Lab is here, in a version that this adapter knows.

    Raises:
        MissingDependencyError: It is not; the hint is the command that installs it.
    """
    lacking = missing()
    if lacking:
        raise MissingDependencyError(f"Isaac Lab is not installed: {', '.join(lacking)} not found", hint=INSTALL)
    version = lab_version()
    if version is not None and not version.startswith(f"{VERSION}."):
        raise MissingDependencyError(f"this is Isaac Lab {version}, and rl2 knows {VERSION}", hint=INSTALL)


def require_physics(physics: Physics) -> None:
    """Check that `physics` can be started here.

    Raises:
        MissingDependencyError: It is not installed, or the user has not accepted its licence.
    """
    lacking = [name for name in _PARTS[physics] if not _is_there(name)]
    if physics == "isaacsim":
        if lacking:
            raise MissingDependencyError(
                "Isaac Sim is not installed",
                hint='it comes from NVIDIA\'s own package index, see its documentation; physics = "ovphysx" needs none',
            )
        require_licence()
    elif lacking:
        raise MissingDependencyError(f"physics {physics!r} is not installed: {', '.join(lacking)}", hint=INSTALL)


def require_licence() -> None:
    """Check that the user has accepted the licence of Isaac Sim, which asks on the terminal otherwise.

    Raises:
        MissingDependencyError: It is not accepted.
    """
    if os.environ.get(EULA, "").lower() not in ("y", "yes", "1"):
        raise MissingDependencyError(
            "Isaac Sim's licence (NVIDIA's) is to be accepted by you",
            hint=f"read it, and if you accept it set {EULA}=YES",
        )


def has_isaac_sim() -> bool:
    """Return whether Isaac Sim is installed as a package."""
    return _is_there("isaacsim")


def choose_physics() -> tuple[Physics, str]:
    """Return the physics that `auto` means here, and that as a sentence."""
    order: tuple[Physics, ...] = ("isaacsim", "ovphysx", "newton_mjwarp")
    chosen = next((each for each in order if all(map(_is_there, _PARTS[each]))), order[-1])
    return chosen, f"physics: {_NAMES[chosen]}"


def lab_version() -> str | None:
    """Return the version of Isaac Lab's package; None where it was not installed as one."""
    try:
        return importlib.metadata.version(LAB)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
