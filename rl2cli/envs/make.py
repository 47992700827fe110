"""From `[env]` to a batch of environments that is ready to be reset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from rl2cli.command import current
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.in_process import InProcessBatch
from rl2cli.envs.selection import select_adapter, spec_of
from rl2cli.envs.worker_plan import plan_workers
from rl2cli.errors import EnvironmentFault, RL2Error
from rl2cli.options import Options
from rl2cli.spec.model import EnvSpec

_made: Counter[type[BaseEnvAdapter]] = Counter()
"""How many of a class with `instances_per_process` this process has made, those closed included: not every simulator
can be started twice."""


def make_env_adapter(
    env_spec: EnvSpec | Mapping[str, Any],
    *,
    num_envs: int | None = None,
    device: torch.device | str = "cpu",
    render_mode: str | None = None,
    workers: int | None = None,
    wait: bool = True,
) -> BaseEnvAdapter:
    """Return the environments of `env_spec` as one vectorised adapter, set up.

    Of a backend that allows a process only so many, further ones live in child processes: see `apart`.

    Args:
        env_spec: `[env]` as a spec, or as a mapping with its keys (`backend`, `num_envs`, `workers`) and the backend's.
        num_envs: In place of the spec's number.
        device: Device wanted; the adapter's `device` says where its tensors are (the CPU, unless a backend has others).
        render_mode: Gymnasium's word for how `render` draws; None where nothing is drawn.
        workers: Worker processes in place of the spec's number; "auto" measures; a vectorised backend has none.
        wait: Whether to wait for environments in a child process, which else have no spaces before their first reset.

    Raises:
        UsageError: Unknown backend or id, or options that do not fit.
        MissingDependencyError: The backend is not installed.
        EnvironmentFault: The backend raised while it was built.
    """
    spec = env_spec if isinstance(env_spec, EnvSpec) else spec_of(env_spec)
    adapter = _build(spec, num_envs or spec.num_envs, device, render_mode, workers)
    try:
        adapter.setup()
        if wait:
            adapter.wait()
    except RL2Error:
        adapter.close()
        raise
    except Exception as error:
        adapter.close()
        raise EnvironmentFault(
            f"{spec.backend} could not be set up: {type(error).__name__}: {error}",
            hint="--debug shows where in its `setup`; `rl2 doctor` says what is installed here",
            place="env.backend",
        ) from error
    if current() is not None and not adapter.watches_itself:
        from rl2cli.envs.watchdog import watch_over

        watch_over(adapter, spec.timeout)
    return adapter


def _build(
    spec: EnvSpec, num_envs: int, device: torch.device | str, render_mode: str | None, workers: int | None
) -> BaseEnvAdapter:
    chosen, options = select_adapter(spec, num_envs, render_mode)
    if chosen.vectorised and chosen.instances_per_process is not None:
        if _made[chosen] >= chosen.instances_per_process:
            return _apart(chosen, options, num_envs, device, render_mode, spec.timeout)
        _made[chosen] += 1
    if chosen.vectorised:
        return chosen(options, num_envs=num_envs, device=device, render_mode=render_mode)
    processes = plan_workers(spec) if workers is None else workers
    if processes:
        from rl2cli.envs.workers import WorkerBatch

        return WorkerBatch(
            chosen,
            options,
            num_envs=num_envs,
            workers=processes,
            render_mode=render_mode,
            time_limit=spec.timeout,
            max_restarts=spec.max_restarts,
        )
    return InProcessBatch(chosen, options, num_envs=num_envs, device=device, render_mode=render_mode)


def _apart(
    chosen: type[BaseEnvAdapter],
    options: Options,
    num_envs: int,
    device: torch.device | str,
    render_mode: str | None,
    time_limit: float,
) -> BaseEnvAdapter:
    from rl2cli.envs.apart import Apart

    return Apart(chosen, options, num_envs=num_envs, device=device, render_mode=render_mode, time_limit=time_limit)
