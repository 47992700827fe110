"""Which adapter class serves an `[env]`, with its validated options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.errors import UsageError
from rl2cli.options import Options
from rl2cli.registry import adapters
from rl2cli.spec.model import EnvSpec

Model = TypeVar("Model", bound=Options)


def select_adapter(
    spec: EnvSpec, num_envs: int, render_mode: str | None = None
) -> tuple[type[BaseEnvAdapter], Options]:
    """Return the class and the options for `num_envs` environments of `spec`.

    What draws (`render_mode`) is the registered class itself, not a vector form of it.

    Raises:
        UsageError: Unknown backend, or options that do not fit it.
    """
    registered: type[BaseEnvAdapter] = adapters.load(spec.backend)
    options = options_of(spec)
    return registered.select(options, num_envs) if render_mode is None else registered.select_drawing(options), options


def options_of(spec: EnvSpec) -> Options:
    """Return the backend's options of `spec`, validated by the backend's own model."""
    model = adapters.options(spec.backend)
    return spec.options if isinstance(spec.options, model) else validated(model, spec.options.model_dump())


def spec_of(table: Mapping[str, Any]) -> EnvSpec:
    """Return a mapping with the keys of `[env]` as a validated spec."""
    own = {key: table[key] for key in table if key in EnvSpec.model_fields and key != "options"}
    rest = {key: value for key, value in table.items() if key not in own}
    spec = validated(EnvSpec, own)
    return spec.model_copy(update={"options": validated(adapters.options(spec.backend), rest)})


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return `values` as an options model.

    Raises:
        UsageError: They do not fit; the message has every problem.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        hint = "`rl2 explain env.KEY` says what a setting takes"
        raise UsageError(f"[env] is not right: {'; '.join(problems)}", hint=hint, place="env") from error
