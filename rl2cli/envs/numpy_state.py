"""The state of a vector environment that keeps all of it in plain attributes: numbers, arrays, generators."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

_CONSTANT = {"spec", "metadata", "render_mode"}


def capture(env: Any) -> dict[str, Any] | None:
    """Return the state of `env` as arrays, values and generator states, or None if an attribute is none of them."""
    from gymnasium import Space

    state: dict[str, dict[str, Any]] = {"arrays": {}, "values": {}, "generators": {}}
    for name, value in vars(env).items():
        if name in _CONSTANT or isinstance(value, Space):
            continue
        if isinstance(value, np.ndarray) and value.dtype != np.object_:
            state["arrays"][name] = value.copy()
        elif isinstance(value, np.random.Generator):
            state["generators"][name] = copy.deepcopy(value.bit_generator.state)
        elif _is_plain(value):
            state["values"][name] = value.item() if isinstance(value, np.generic) else copy.deepcopy(value)
        else:
            return None
    return state


def restore(env: Any, state: dict[str, Any]) -> None:
    """Put back what `capture` found."""
    for name, array in state["arrays"].items():
        setattr(env, name, np.array(array))
    for name, value in state["values"].items():
        was = getattr(env, name, None)
        setattr(env, name, tuple(value) if isinstance(was, tuple) else copy.deepcopy(value))
    for name, bits in state["generators"].items():
        generator = np.random.Generator(getattr(np.random, bits["bit_generator"])())
        generator.bit_generator.state = bits
        setattr(env, name, generator)


def is_exact(env: Any, steps: int = 16) -> bool:
    """Return whether steps after a restore repeat those before it, bit for bit; leaves `env` to be reset."""
    env.reset(seed=0)
    if capture(env) is None:
        return False
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(3 * steps)]
    for action in actions[:steps]:
        env.step(action)
    state = capture(env)
    if state is None:
        return False
    first = [env.step(action) for action in actions[steps : 2 * steps]]
    first = copy.deepcopy(first)
    for action in actions[2 * steps :]:
        env.step(action)
    restore(env, state)
    second = [env.step(action) for action in actions[steps : 2 * steps]]
    return all(_same(one[:4], other[:4]) for one, other in zip(first, second, strict=True))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return all(_same(part, its) for part, its in zip(one, other, strict=True))
    return np.asarray(one).tobytes() == np.asarray(other).tobytes()
