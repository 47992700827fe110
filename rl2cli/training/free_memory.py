"""How much memory and disk a run may still take, on Linux in and out of containers, macOS and Windows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def free_memory(device: torch.device) -> int:
    """Return the bytes that can be allocated on `device`."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil  # only runs that keep much need it

    return min([int(psutil.virtual_memory().available), *cgroup_room()])


def free_disk(folder: Path) -> int:
    """Return the free bytes of the disk that `folder`, which need not be there yet, lies on."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def bytes_in(folder: Path) -> int:
    """Return the size of all files right in `folder`; 0 where it is not there."""
    try:
        with os.scandir(folder) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0


def cgroup_room(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> Iterator[int]:
    """Yield what each control group around this process still lets it take, in bytes: a container's limit.

    Page cache that is not in use counts as free, since the kernel gives it up first.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names: tuple[str, str, str] | None = None
        if controllers == "":
            root, names = cgroups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = cgroups / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        if names is not None:
            group = root / path.strip("/")  # inside a container often another's name: then only the root is there
            for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(root))):
                yield from _room_of(folder, *names)


def _room_of(folder: Path, limit_file: str, usage_file: str, cache: str) -> Iterator[int]:
    try:
        limit, usage = ((folder / name).read_text(encoding="ascii").strip() for name in (limit_file, usage_file))
        statistics = (folder / "memory.stat").read_text(encoding="ascii")
    except OSError:
        return
    if limit.isdigit():  # else "max"
        kept = dict(line.split(" ", 1) for line in statistics.splitlines())
        yield max(0, int(limit) - int(usage) + int(kept.get(cache, 0)))
