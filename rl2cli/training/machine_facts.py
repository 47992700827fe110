"""What a run was made with and on, for `run.json`. Nothing here may fail or take long."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

DISTRIBUTIONS = (
    *("rl2cli", "torch", "numpy", "gymnasium", "ale-py", "tensordict", "torchrl", "safetensors", "pydantic"),
    *("tensorboard", "mujoco", "box2d", "pygame", "moviepy", "isaaclab", "newton", "warp-lang", "ovphysx"),
    *("onnx", "onnxscript", "onnxruntime", "ray"),
)
_TIME_LIMIT = 2.0


def machine_facts(plugins: Sequence[type] = ()) -> dict[str, object]:
    """Return versions, machine, git state, command line, and the module and file hash of each plugin class."""
    return {
        "versions": versions(),
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu": cpu_model(),
        "cpu_count": os.cpu_count(),
        "gpus": gpu_names(),
        "git": git_state(),
        "command": list(sys.argv),
        "plugins": [plugin_facts(plugin) for plugin in plugins],
    }


def versions() -> dict[str, str]:
    """Return the versions of the libraries that matter to a run, as far as they are installed; imports none."""
    found: dict[str, str] = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except (importlib.metadata.PackageNotFoundError, KeyError):
            continue
    return found


def cpu_model() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    brand = _output("sysctl", "-n", "machdep.cpu.brand_string") if sys.platform == "darwin" else None
    return brand or platform.processor() or platform.machine()


def gpu_names() -> list[str]:
    """Return the names of the CUDA devices that torch sees."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        except (RuntimeError, AssertionError):
            return []


def git_state() -> dict[str, object] | None:
    """Return commit and whether files were changed in the current folder's repository; None outside of one."""
    commit = _output("git", "rev-parse", "HEAD")
    if not commit:
        return None
    # A repository's own settings can name programs for git to run; the file system monitor is one.
    status = _output("git", "-c", "core.fsmonitor=false", "--no-optional-locks", "status", "--porcelain")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def plugin_facts(plugin: type) -> dict[str, str | None]:
    """Return where a plugin's class comes from, the sha256 of that file, and the version of its package, if any."""
    try:
        file = inspect.getsourcefile(plugin)
        sha256 = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
    except (OSError, TypeError):
        sha256 = None
    version = None if plugin.__module__.startswith("rl2cli.") else _version_of(plugin.__module__)
    return {"module": plugin.__module__, "class": plugin.__qualname__, "sha256": sha256, "version": version}


def _version_of(module: str) -> str | None:
    """Return the version of the installed package that a module is from, or what the package says itself."""
    top = module.partition(".")[0]
    try:
        distributions = importlib.metadata.packages_distributions().get(top, [])
        return importlib.metadata.version(distributions[0]) if distributions else _own_version(top)
    except Exception:  # metadata of packages that have nothing to do with rl2 may be damaged
        return _own_version(top)


def _own_version(module: str) -> str | None:
    version = getattr(sys.modules.get(module), "__version__", None)
    return version if isinstance(version, str) else None


def _output(program: str, *arguments: str) -> str | None:
    """Return what a program prints; None if it is missing, fails or takes too long."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIME_LIMIT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
