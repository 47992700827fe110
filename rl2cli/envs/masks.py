"""Action masks: from `info["action_mask"]`, or from an `action_mask` key of a Dict observation.

The key is taken out of the observation; what remains stays a Dict, also where one key remains.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from rl2cli.envs.buffers import BrokenContractError
from rl2cli.keys import ACTION_MASK
from rl2cli.spaces import Array, Space, mask_width


def without_mask(space: Space) -> Space:
    """Return an observation space without its `action_mask` key, or the very same space if it has none."""
    if isinstance(space, spaces.Dict) and ACTION_MASK in space.spaces:
        return spaces.Dict({key: part for key, part in space.spaces.items() if key != ACTION_MASK})
    return space


def find_mask(raw: Any, info: dict[str, Any]) -> Any:
    """Return the mask that came with an observation, or None."""
    if ACTION_MASK in info:
        return info[ACTION_MASK]
    return raw[ACTION_MASK] if isinstance(raw, dict) and ACTION_MASK in raw else None


def as_mask(found: Any, action_space: Space, leading: tuple[int, ...]) -> Array:
    """Return a mask as bool [*leading, A].

    Raises:
        BrokenContractError: There is none, or its size is not the number of choices of `action_space`.
    """
    expected = (*leading, mask_width(action_space))
    if found is None:
        raise BrokenContractError("the environment gave an action_mask before, and now gives none")
    mask = np.concatenate(found, axis=-1) if isinstance(found, tuple) else np.asarray(found)
    if mask.shape != expected:
        raise BrokenContractError(f"action_mask has shape {mask.shape}, the action space says {expected}")
    return mask.astype(np.bool_)
