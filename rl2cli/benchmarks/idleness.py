"""Whether this machine is quiet enough for timings to mean something."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

SPIN_SECONDS = 0.3
BUSY_LOAD = 0.5
"""Load average, over a minute, from which something else is running."""
LEAST_SHARE = 0.97
"""Processor time per second of a thread that nothing disturbs."""


class Idleness(NamedTuple):
    """What else the machine was doing."""

    load: float | None
    """Processes wanting a processor, mean of the last minute; None where the system does not say."""
    share: float
    """Processor time that a spinning thread got, per second."""

    def warning(self) -> str | None:
        """Return a line for the user where timings are not to be trusted, else None."""
        found = []
        if self.load is not None and self.load > BUSY_LOAD:
            found.append(f"load average {self.load:.2f} on {os.cpu_count()} cores")
        if self.share < LEAST_SHARE:
            found.append(f"a thread gets {self.share:.0%} of a core")
        return f"this machine is not idle ({', '.join(found)}): timings will be rough" if found else None


def measure_idleness() -> Idleness:
    """Spin for a moment and compare processor time with the clock."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    wall, processor = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < SPIN_SECONDS:
        pass
    return Idleness(load, min(1.0, (time.process_time() - processor) / (time.perf_counter() - wall)))
