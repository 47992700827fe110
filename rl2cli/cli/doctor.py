"""`rl2 doctor`."""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from rl2cli.cli.environments import FAMILIES
from rl2cli.cli.output import emit_json, emit_lines
from rl2cli.cli.parameters import AsJson

BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
"""Names under which Linux lists a processor's bfloat16 units; the last one is ARM's."""
DEVELOPERS = "test"
"""The extra that only those who change rl2 need."""
COMPILERS = ("c++", "g++", "clang++", "cl")


def doctor(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="A run's folder, its name under outputs, latest, or a checkpoint's folder to digest."
        ),
    ] = None,
    digest: Annotated[
        bool, typer.Option("--digest", help="Print a hash of everything that the last checkpoint goes on from.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Report what this machine has, and how to get what is missing; or check a run.

    With a run: verify each of its checkpoints, and say what can be gone on with. The exit code is 0 where the last
    one is good, else 6.
    """
    if digest or run is not None:
        from rl2cli.cli.doctor_run import print_check, print_digest

        return print_digest(run, as_json=as_json) if digest else print_check(run, as_json=as_json)
    _report_machine(as_json=as_json)
    return 0


def _report_machine(*, as_json: bool) -> None:
    report = {
        "python": f"{platform.python_version()} on {platform.platform()}",
        **_versions(),
        "processor": _processor(),
        "devices": _devices(),
        "tools": _tools(),
        "environments": {family.name: family.missing or "installed" for family in FAMILIES},
        "extras": _extras(),
        "folders": _folders(),
    }
    if as_json:
        emit_json(report)
        return
    emit_lines(_lines(report))


def _versions() -> dict[str, object]:
    from rl2cli.training.machine_facts import versions

    return {"versions": versions()}


def _processor() -> dict[str, object]:
    import torch

    from rl2cli.training.machine_facts import cpu_model

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    from rl2cli.training.free_memory import free_disk, free_memory
    from rl2cli.training.room import in_words

    return {
        "model": cpu_model(),
        "cores": f"{usable} usable of {os.cpu_count()}",
        "bfloat16": ", ".join(_bfloat16_units()) or "no units for it found",
        "memory": f"{in_words(free_memory(torch.device('cpu')))} free",
        "disk": f"{in_words(free_disk(Path()))} free here",
    }


def _bfloat16_units() -> list[str]:
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return []
    return [flag for flag in BFLOAT16_FLAGS if flag in words]


def _devices() -> dict[str, object]:
    import torch

    from rl2cli.training.machine_facts import gpu_names

    found: dict[str, object] = {f"cuda:{index}": name for index, name in enumerate(gpu_names())}
    if found:
        has_units = torch.cuda.is_bf16_supported(including_emulation=False)
        found["cuda, bfloat16"] = "yes" if has_units else "no units for it"
    if not found:
        found["cuda"] = "this build of torch has none" if torch.version.cuda is None else "no device found"
    found["mps"] = "yes" if torch.backends.mps.is_available() else "no"
    found["threads"] = str(torch.get_num_threads())
    return found


def _tools() -> dict[str, object]:
    compiler = next((path for name in _compiler_names() if (path := shutil.which(name))), None)
    screen = next(
        (f"{name}={os.environ[name]}" for name in ("DISPLAY", "WAYLAND_DISPLAY") if os.environ.get(name)), None
    )
    if screen is None and sys.platform in ("darwin", "win32"):
        screen = "the system's"
    libraries = [name for name in ("EGL", "OSMesa", "GL") if ctypes.util.find_library(name)]
    return {
        "C++ compiler": compiler or "none: runs are not compiled",
        "ffmpeg": _ffmpeg() or "none: pip install imageio-ffmpeg",
        "display": screen or "none: environments can still draw off screen",
        "OpenGL": ", ".join(libraries) or "no library found",
    }


def _compiler_names() -> list[str]:
    return [*filter(None, [os.environ.get("CXX")]), *COMPILERS]


def _ffmpeg() -> str | None:
    found = shutil.which("ffmpeg")
    if found is None and importlib.util.find_spec("imageio_ffmpeg") is not None:
        from imageio_ffmpeg import get_ffmpeg_exe

        with suppress(RuntimeError):
            found = str(get_ffmpeg_exe())
    return found


def _extras() -> dict[str, object]:
    """Return each extra of this distribution, with the pip line where something of it is not installed."""
    needed: dict[str, list[str]] = {}
    with suppress(importlib.metadata.PackageNotFoundError):
        for requirement in importlib.metadata.requires("rl2cli") or []:
            extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", requirement)
            if extra and extra[1] != DEVELOPERS:
                needed.setdefault(extra[1], []).append(requirement.partition(";")[0].strip())
    return {extra: _extra(extra, requirements) for extra, requirements in sorted(needed.items())}


def _extra(extra: str, requirements: list[str]) -> str:
    # `gymnasium[mujoco]` is there when the package that gives the bracket its name is.
    names = [name for one in requirements for name in _distributions(one)]
    missing = [name for name in names if not _is_installed(name)]
    if extra == "isaac":
        return _isaac(missing)
    return "installed" if not missing else f'not installed: pip install "rl2cli[{extra}]"'


def _isaac(missing: list[str]) -> str:
    """Return what is there of Isaac Lab, which no extra can bring: its own pins would replace torch."""
    from rl2cli.envs.isaac.installation import INSTALL, LAB, choose_physics, lab_version

    lacking = [*missing, *([] if lab_version() else [LAB])]
    if not lacking:
        return f"installed: Isaac Lab {lab_version()}, {choose_physics()[1]}"
    shown = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
    return f"not installed ({shown} missing): {INSTALL}"


def _distributions(requirement: str) -> list[str]:
    match = re.match(r"([A-Za-z0-9._-]+)(?:\[([^\]]+)\])?", requirement)
    if match is None:
        return []
    return [part.strip() for part in match[2].split(",")] if match[2] else [match[1]]


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _folders() -> dict[str, object]:
    import platformdirs

    return {
        "settings": platformdirs.user_config_dir("rl2", appauthor=False),
        "cache": platformdirs.user_cache_dir("rl2", appauthor=False),
    }


def _lines(report: dict[str, object]) -> list[str]:
    lines = []
    for section, content in report.items():
        if not isinstance(content, dict):
            lines.append(f"{section:<12}{content}")
            continue
        width = max((len(name) for name in content), default=0) + 2
        lines += ["", section, *(f"  {name:<{width}}{value}" for name, value in content.items())]
    return lines
