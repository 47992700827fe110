"""Environments: `make_env_adapter` builds one from `[env]`, `register_adapter` adds a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rl2cli.registry import register_adapter

if TYPE_CHECKING:
    from rl2cli.envs.make import make_env_adapter
    from rl2cli.envs.worker_plan import plan_workers

__all__ = ["make_env_adapter", "plan_workers", "register_adapter"]


def __getattr__(name: str) -> object:
    """Import what needs torch when it is first asked for."""
    if name == "make_env_adapter":
        from rl2cli.envs.make import make_env_adapter

        return make_env_adapter
    if name == "plan_workers":
        from rl2cli.envs.worker_plan import plan_workers

        return plan_workers
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
