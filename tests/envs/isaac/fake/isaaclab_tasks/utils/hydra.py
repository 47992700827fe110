from typing import Any

from isaaclab_tasks.utils import PresetCfg


def collect_presets(cfg: Any, path: str = "") -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, value in vars(cfg).items():
        if isinstance(value, PresetCfg):
            found[f"{path}{name}"] = vars(value)
        elif hasattr(value, "__dataclass_fields__"):
            found |= collect_presets(value, f"{path}{name}.")
    return found
