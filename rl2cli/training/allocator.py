"""How the C library hands out memory to large tensors."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt` in glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Have freed memory kept for the next tensor instead of given back to the system; return whether that worked.

    glibc maps large blocks anew each time, and the system fills each page with zeros when it is first touched: with
    activations of images that was a tenth of the time of a whole training. The process keeps its peak until it ends.
    Only glibc has the function.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(M_TRIM_THRESHOLD, 2**31 - 1), mallopt(M_MMAP_THRESHOLD, 2**30)])
