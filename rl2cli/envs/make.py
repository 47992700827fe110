"""From `[env]` to a batch of environments that is ready to be reset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from pydantic import ValidationError

from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.errors import EnvironmentFault, RL2Error, UsageError
from rl2cli.options import Options
from rl2cli.registry import adapters
from rl2cli.spec.model import EnvSpec

Model = TypeVar("Model", bound=Options)


def make_env_adapter(
    env_spec: EnvSpec | Mapping[str, Any],
    *,
    num_envs: int | None = None,
    device: torch.device | str = "cpu",
    render_mode: str | None = None,
    workers: int | None = None,
) -> BaseEnvAdapter:
    """Return the environments of `env_spec` as one vectorised adapter, set up.

    Args:
        env_spec: `[env]` as a spec, or as a mapping with its keys (`backend`, `num_envs`, `workers`) and the backend's.
        num_envs: In place of the spec's number.
        device: Device wanted; the adapter's `device` says where its tensors are (the CPU, unless a backend has others).
        render_mode: Gymnasium's word for how `render` draws; None where nothing is drawn.
        workers: Worker processes, in place of the spec's number; None with the spec's "auto" measures.

    Raises:
        UsageError: Unknown backend or id, or options that do not fit.
        MissingDependencyError: The backend is not installed.
        EnvironmentFault: The backend raised while it was built.
    """
    spec = env_spec if isinstance(env_spec, EnvSpec) else _spec_of(env_spec)
    adapter = _build(spec, num_envs or spec.num_envs, device, render_mode, workers)
    try:
        adapter.setup()
    except RL2Error:
        adapter.close()
        raise
    except Exception as error:
        adapter.close()
        raise EnvironmentFault(f"{spec.backend} could not be set up: {type(error).__name__}: {error}") from error
    return adapter


def _build(
    spec: EnvSpec, num_envs: int, device: torch.device | str, render_mode: str | None, workers: int | None
) -> BaseEnvAdapter:
    from rl2cli.envs.in_process import InProcessBatch

    registered = adapters.load(spec.backend)
    options = options_of(spec)
    chosen = registered if render_mode == "human" else registered.select(options, num_envs)
    if chosen.vectorised:
        return chosen(options, num_envs=num_envs, device=device, render_mode=render_mode)
    return InProcessBatch(chosen, options, num_envs=num_envs, device=device, render_mode=render_mode)


def options_of(spec: EnvSpec) -> Options:
    """Return the backend's options of `spec`, validated by the backend's own model."""
    model = adapters.options(spec.backend)
    return spec.options if isinstance(spec.options, model) else _validated(model, spec.options.model_dump())


def _spec_of(table: Mapping[str, Any]) -> EnvSpec:
    own = {key: table[key] for key in table if key in EnvSpec.model_fields and key != "options"}
    rest = {key: value for key, value in table.items() if key not in own}
    spec = _validated(EnvSpec, own)
    return spec.model_copy(update={"options": _validated(adapters.options(spec.backend), rest)})


def _validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise UsageError(f"[env] is not right: {'; '.join(problems)}") from error


def plan_workers(env_spec: EnvSpec) -> int:
    """Return how many worker processes step the environments of `env_spec`; 0 is none."""
    return 0 if env_spec.workers == "auto" else env_spec.workers
