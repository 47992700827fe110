"""Building a plugin with its default options and using it for a moment, as a run would."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from pydantic import ValidationError

from rl2cli.checks.refusal import Refused, explained
from rl2cli.errors import MissingDependencyError, UsageError

BATCH = 3
STEPS = 100
_SHOWN = 8


def try_out(kind: str, target: str, plugin: type) -> list[str]:
    """Build and use a plugin; return what could not be tried out, and why.

    Raises:
        Refused: It breaks its contract, or raised.
    """
    options = getattr(plugin, "Options")  # noqa: B009  # a type's own
    trials: dict[str, Callable[..., list[str]]] = {
        "adapter": _try_adapter,
        "network": _try_network,
        "algorithm": _try_algorithm,
    }
    try:
        return trials[kind](plugin, options(), target)
    except ValidationError as error:
        if error.title != options.__name__:
            raise explained(error, f"using {plugin.__name__} raised", plugin.__module__, None) from error
        missing = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        return [f"not tried out, since these options have no default: {missing}"]
    except MissingDependencyError as error:
        return [f"not tried out: {error.message}"]
    except UsageError as error:
        return [f"not tried out: {error.message}"]
    except (Refused, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        folder = inspect.getsourcefile(plugin)
        where = None if folder is None else folder.rpartition("/")[0] or None
        raise explained(error, f"using {plugin.__name__} raised", plugin.__module__, where) from error


def _try_adapter(plugin: Any, options: Any, target: str) -> list[str]:
    from rl2cli.envs.checker import check_adapter
    from rl2cli.envs.in_process import InProcessBatch

    del target
    chosen = plugin.select(options, BATCH)
    count = BATCH if chosen.vectorised or chosen.instances_per_process is None else 1
    adapter = chosen(options, num_envs=count) if chosen.vectorised else InProcessBatch(chosen, options, num_envs=count)
    with closing(adapter):
        try:
            adapter.setup()
        except AttributeError as error:
            if error.name in ("observation_space", "action_space"):
                raise Refused(
                    f"setup of {plugin.__name__} does not set self.{error.name}", "a Gymnasium space"
                ) from error
            raise
        findings = check_adapter(adapter, STEPS)
    if findings:
        shown = "; ".join(map(str, findings[:_SHOWN]))
        raise Refused(
            f"{plugin.__name__} breaks the adapter contract: {shown}",
            "`rl2 check-env` has more, once it is kept: add --no-check to keep it as it is",
        )
    return []


def _try_network(plugin: Any, options: Any, target: str) -> list[str]:
    del target
    refusals = []
    for space in _OBSERVATIONS:
        try:
            _use_network(plugin, options, space)
            return []
        except UsageError as error:
            refusals.append(error.message)
    return [f"not tried out: it takes neither vectors, images nor a Dict of them: {refusals[-1]}"]


_OBSERVATIONS: tuple[spaces.Space[Any], ...] = (
    spaces.Box(-1.0, 1.0, (4,), np.float32),
    spaces.Box(0, 255, (4, 84, 84), np.uint8),
    spaces.Dict(
        {"camera": spaces.Box(0, 255, (4, 84, 84), np.uint8), "place": spaces.Box(-1.0, 1.0, (4,), np.float32)}
    ),
)


def _use_network(plugin: Any, options: Any, space: spaces.Space[Any]) -> None:
    from rl2cli.keys import map_observation
    from rl2cli.spaces import allocate

    for width in (0, 2):
        network = plugin(options, space, width)
        rows = map_observation(torch.zeros_like, allocate(space, (BATCH,)))
        features = network(rows, torch.zeros(BATCH, width) if width else None)
        wanted = (BATCH, getattr(network, "out_features", None))
        if not isinstance(features, torch.Tensor) or features.shape != wanted or features.dtype != torch.float32:
            raise Refused(
                f"{plugin.__name__}.forward: expected features torch.float32 {list(wanted)}, got {_shape(features)}"
                + (f", with extra [{BATCH}, {width}]" if width else ""),
                "forward returns [B, self.out_features]; out_features is set in __init__",
            )


def _shape(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


def _try_algorithm(plugin: Any, options: Any, target: str) -> list[str]:
    from rl2cli.registry import algorithms

    del options
    algorithms.register("tried-out", target)
    refusals = []
    for env_id in ("CartPole-v1", "Pendulum-v1"):
        try:
            _use_algorithm(plugin, env_id)
            return []
        except UsageError as error:
            refusals.append(error.message)
    return [f"not tried out: {'; '.join(dict.fromkeys(refusals))}"]


def _use_algorithm(plugin: Any, env_id: str) -> None:
    from rl2cli.spec import load_spec_dict
    from rl2cli.training.build import build
    from rl2cli.training.clock import Clock
    from rl2cli.training.collector import Collector

    env = {"id": env_id, "num_envs": 4, "workers": 0}
    spec = {"total_frames": 10_000, "device": "cpu", "env": env, "algorithm": {"name": "tried-out"}}
    parts = build(load_spec_dict(spec).spec)
    with closing(parts):
        collector = Collector(parts.algorithm, parts.env, Clock())
        collector.reset(np.arange(4, dtype=np.int64))
        trajectories = collector.collect()
        assert trajectories is not None  # nothing can cut it short
        metrics = parts.algorithm.update(trajectories, collector.rollout.frames)
    if not isinstance(metrics, dict) or not all(isinstance(value, (int, float)) for value in metrics.values()):
        got = {name: type(value).__name__ for name, value in metrics.items()} if isinstance(metrics, dict) else metrics
        raise Refused(
            f"{plugin.__name__}.update: expected a dict of numbers, got {got}", "return {'loss/policy': loss.item()}"
        )
