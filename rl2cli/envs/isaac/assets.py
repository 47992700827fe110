"""Where USD assets come from: the user's folder or server, NVIDIA's server, or a cache that rl2 writes itself."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

import platformdirs

from rl2cli.durable import explained, write_text_atomic
from rl2cli.envs.isaac import usda
from rl2cli.envs.isaac.options import BUILT_IN, NVIDIA
from rl2cli.errors import UsageError

VARIABLE = "ISAACSIM_ASSET_ROOT"
"""Read by Isaac Lab when its asset module is imported."""
ANSWER_SECONDS = 3.0
_SETTING = re.compile(r'^\s*persistent\.isaac\.asset_root\.default\s*=\s*"([^"]*)"', re.MULTILINE)
_ANT = "examples/assets/ant.usda"
"""In Newton's package: the ant with the names of Isaac Lab's."""


def _newtons_ant() -> str:
    found = importlib.util.find_spec("newton")
    if found is None or found.origin is None:
        return ""
    file = Path(found.origin).parent / _ANT
    return file.read_text(encoding="utf-8") if file.is_file() else ""


WRITTEN: dict[str, Callable[[], str]] = {
    "Isaac/IsaacLab/Robots/Classic/Cartpole/cartpole.usd": usda.cartpole,
    "Isaac/IsaacLab/Environments/Grid/default_ground_plane_checker_v1/default_ground_plane.usda": usda.ground,
    "Isaac/Robots/IsaacSim/Ant/ant_instanceable.usd": _newtons_ant,
}
"""What rl2 writes, by its place below an asset root, and what it writes there."""


def choose_root() -> tuple[str, str]:
    """Return the asset root that `auto` means here, as a value of the option, and that as a sentence."""
    own = os.environ.get(VARIABLE)
    if own:
        return own, f"assets: {VARIABLE}, {own}"
    if answers(default_root()):
        return NVIDIA, "assets: NVIDIA's server"
    return BUILT_IN, "assets: rl2's own (cart-pole, ant and ground), as NVIDIA's server does not answer"


def default_root() -> str:
    """Return the address that Isaac Lab has for its assets; empty where it cannot be read."""
    found = importlib.util.find_spec("isaaclab")
    if found is None or found.origin is None:
        return ""
    with contextlib.suppress(OSError):
        text = (Path(found.origin).parent / "apps" / "isaaclab.python.kit").read_text(encoding="utf-8")
        settings = _SETTING.findall(text)
        return str(settings[-1]) if settings else ""
    return ""


def answers(root: str) -> bool:
    """Return whether a folder is there, or whether a server takes a connection; nothing is sent to it."""
    address = urlparse(root)
    if address.scheme not in ("http", "https") or address.hostname is None:
        return bool(root) and Path(root).is_dir()
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname, port), ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def use_root(root: str) -> str:
    """Have Isaac Lab, which must not be imported yet, take its assets from `root`; return the folder or address.

    Raises:
        UsageError: There is no such folder.
    """
    if root == NVIDIA:
        os.environ.pop(VARIABLE, None)
        return default_root()
    if root == BUILT_IN:
        root = str(write_assets())
    elif "://" not in root and not Path(root).expanduser().is_dir():
        raise UsageError(f"there is no asset root {root!r}", hint="asset_root is a folder or an address", place="env")
    elif "://" not in root:
        root = str(Path(root).expanduser().absolute())
    os.environ[VARIABLE] = root
    return root


def write_assets(folder: Path | None = None) -> Path:
    """Write what rl2 has into the user's cache, laid out as an asset root, and return that folder."""
    folder = folder or Path(platformdirs.user_cache_dir("rl2", appauthor=False)) / "isaac-assets"
    for place, text in WRITTEN.items():
        path, wanted = folder / place, text()
        if wanted and not _has(path, wanted):
            with explained("writing assets into the cache"):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomic(path, wanted)
    return folder


def require_assets(task: str, files: list[str], root: str) -> None:
    """Check that local files that a task names are there.

    Raises:
        UsageError: One is not; the message names it and the root.
    """
    lacking = [file for file in files if "://" not in file and not Path(file).is_file()]
    if not lacking:
        return
    first = lacking[0].removeprefix(root).lstrip("/\\")
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    raise UsageError(
        f"{task} needs the asset {first}{more}, which the asset root {root} does not have",
        hint="asset_root under [env] names a folder or server that has NVIDIA's assets; rl2's own has cart-pole, ant "
        "and ground alone",
        place="env.asset_root",
    )


def _has(path: Path, text: str) -> bool:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8") == text
    return False
