"""Presets: a part of a configuration of which one of several is chosen."""

from typing import Any


class PresetCfg:
    pass


def resolve_presets(cfg: Any, selected: tuple[str, ...] = ()) -> Any:
    for name, value in list(vars(cfg).items()):
        if isinstance(value, PresetCfg):
            chosen = next((each for each in selected if hasattr(value, each)), "default")
            setattr(cfg, name, getattr(value, chosen))
        elif hasattr(value, "__dataclass_fields__"):
            resolve_presets(value, selected)
    return cfg
