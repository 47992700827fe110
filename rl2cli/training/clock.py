"""What a run's time is spent on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

SHORTEST_SHARE = 0.2
"""Seconds over which the parts of the time say something."""


@dataclass
class Clock:
    """Seconds since the last report, by what they were spent on."""

    environment: float = 0.0
    policy: float = 0.0
    learning: float = 0.0
    started: float = 0.0
    step_seconds: float = 0.0
    """What one step of one environment took in the last rollout."""
    latest: dict[str, float] = field(default_factory=dict)

    def shares(self) -> dict[str, float]:
        """Return the parts of the time since the last call, or the last ones if that was just now; their sum is 1."""
        now = time.perf_counter()
        whole = max(now - self.started, 1e-9)
        if self.latest and whole < SHORTEST_SHARE:
            return self.latest
        parts = {"environment": self.environment, "policy": self.policy, "learning": self.learning}
        shares = {key: value / whole for key, value in parts.items()}
        self.environment = self.policy = self.learning = 0.0
        self.started = now
        self.latest = shares | {"other": max(0.0, 1.0 - sum(shares.values()))}
        return self.latest
