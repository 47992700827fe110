"""What the fixtures that make environments are."""

from __future__ import annotations

from collections.abc import Callable

from rl2cli.envs.base import BaseEnvAdapter

Make = Callable[..., BaseEnvAdapter]
