"""Which environments there are, by backend, and what has to be installed for them; a family imports nothing."""

from __future__ import annotations

import importlib.util
import warnings
from contextlib import suppress
from typing import Any, NamedTuple


class Family(NamedTuple):
    """Environments that need the same package."""

    name: str
    backend: str
    modules: tuple[str, ...] = ()
    """Of Gymnasium's: what the modules of their classes begin with."""
    needs: str = ""
    """The module that has to be there; empty where it comes with rl2."""
    package: str = ""
    """What pip calls it."""

    @property
    def missing(self) -> str:
        """How to get what is not installed; empty where everything is."""
        if not self.needs or is_importable(self.needs):
            return ""
        return "not installed: pip install " + (f'"{self.package}"' if "[" in self.package else self.package)

    @property
    def summary(self) -> str:
        """Where it belongs, and what is missing."""
        return "; ".join(filter(None, (self.backend, self.missing)))


FAMILIES = (
    Family("classic control", "gymnasium", ("gymnasium.envs.classic_control",)),
    Family("Box2D", "gymnasium", ("gymnasium.envs.box2d",), "Box2D", "gymnasium[box2d]"),
    Family("toy text", "gymnasium", ("gymnasium.envs.toy_text",)),
    Family("Atari", "gymnasium", ("ale_py",), "ale_py", "ale-py"),
    Family("MuJoCo", "gymnasium", ("gymnasium.envs.mujoco",), "mujoco", "rl2cli[mujoco]"),
    Family("JAX", "gymnasium", ("gymnasium.envs.phys2d", "gymnasium.envs.tabular"), "jax", "gymnasium[jax]"),
    Family("GymEnv", "torchrl"),
    Family("DMControlEnv", "torchrl", needs="dm_control", package="dm-control"),
    Family("JumanjiEnv", "torchrl", needs="jumanji", package="jumanji"),
    Family("BraxEnv", "torchrl", needs="brax", package="brax"),
    Family("MujocoPlaygroundEnv", "torchrl", needs="mujoco_playground", package="playground"),
    Family("MJLabEnv", "torchrl", needs="mjlab", package="mjlab"),
)
"""What rl2's own backends can make; an adapter of somebody's own brings others."""


class Environment(NamedTuple):
    """One environment that a spec can name."""

    name: str
    summary: str


def is_importable(module: str) -> bool:
    """Return whether a top-level module is there; imports nothing."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def environments() -> list[Environment]:
    """Return every environment by name, those of Gymnasium's registry first; imports Gymnasium."""
    missing = {family: family.missing for family in FAMILIES}
    found = []
    for name, specification in sorted(_registry().items()):
        module = _module(specification.entry_point)
        family = next((each for each in FAMILIES if each.modules and module.startswith(each.modules)), None)
        if module == "gymnasium.envs":  # names that only say where the environment went
            continue
        what = family.name if family is not None else module.partition(".")[0]
        found.append(_environment(name, f"gymnasium, {what}", missing[family] if family else ""))
    wrapped = [family for family in FAMILIES if family.backend == "torchrl"]
    return found + [_environment(each.name, f'torchrl, factory = "{each.name}"', missing[each]) for each in wrapped]


def _environment(name: str, use: str, missing: str) -> Environment:
    return Environment(name, "; ".join(filter(None, (use, missing))))


def _registry() -> dict[str, Any]:
    import gymnasium

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(ImportError):
            import ale_py

            gymnasium.register_envs(ale_py)
    return dict(gymnasium.registry)


def _module(entry_point: object) -> str:
    if isinstance(entry_point, str):
        return entry_point.partition(":")[0]
    return str(getattr(entry_point, "__module__", ""))
