"""rl2: reinforcement learning from one TOML file and one command.

Public in Python: `train`, `load_policy`, `make_env_adapter`, `register_algorithm`, `register_network`,
`register_adapter`. Importing this package imports none of what they need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl2cli.api import train as train
    from rl2cli.envs import make_env_adapter as make_env_adapter
    from rl2cli.inference.policy import load_policy as load_policy
    from rl2cli.registry import register_adapter as register_adapter
    from rl2cli.registry import register_algorithm as register_algorithm
    from rl2cli.registry import register_network as register_network

__version__ = "0.1.0"

_PUBLIC = {
    "load_policy": "rl2cli.inference.policy",
    "make_env_adapter": "rl2cli.envs",
    "register_adapter": "rl2cli.registry",
    "register_algorithm": "rl2cli.registry",
    "register_network": "rl2cli.registry",
    "train": "rl2cli.api",
}

__all__ = [
    "__version__",
    "load_policy",
    "make_env_adapter",
    "register_adapter",
    "register_algorithm",
    "register_network",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
