"""Images of ordinary environments made smaller and gray, in numpy alone."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rl2cli.spaces import Array, Space

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in gray, ITU-R BT.601."""


class ImageObservation(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Resizes images by area and turns them gray, wherever they are in the observation; leaves the rest as it is.

    Args:
        env: A single environment.
        size: Height and width; None keeps them.
        grayscale: Whether [H, W, 3] becomes [H, W].
    """

    def __init__(self, env: Any, size: tuple[int, int] | None, grayscale: bool) -> None:
        super().__init__(env)
        self._size, self._grayscale = size, grayscale
        self._resizers: dict[tuple[int, int], AreaResize] = {}
        self.observation_space = self._space(env.observation_space)

    def observation(self, observation: Any) -> Any:
        """Return an observation of the new space."""
        return self._convert(self.env.observation_space, observation)

    def _space(self, space: Space) -> Space:
        if isinstance(space, spaces.Dict):
            return spaces.Dict({key: self._space(part) for key, part in space.spaces.items()})
        if not is_picture(space):
            return space
        picture = self._convert(space, np.zeros(space.shape, np.uint8))
        return spaces.Box(0, 255, picture.shape, np.uint8)

    def _convert(self, space: Space, value: Any) -> Any:
        if isinstance(space, spaces.Dict):
            return {key: self._convert(part, value[key]) for key, part in space.spaces.items()}
        if not is_picture(space):
            return value
        picture: Array = np.asarray(value).astype(np.float32)
        if self._grayscale and picture.ndim == 3 and picture.shape[-1] > 1:
            picture = picture[..., :3] @ LUMA
        elif self._grayscale and picture.ndim == 3:
            picture = picture[..., 0]
        if self._size is not None and picture.shape[:2] != self._size:
            before = (picture.shape[0], picture.shape[1])
            if before not in self._resizers:
                self._resizers[before] = AreaResize(before, self._size)
            picture = self._resizers[before](picture)
        return np.rint(picture).astype(np.uint8)


class AreaResize:
    """Resizes pictures so that every new pixel is the mean of the area that it covers, as OpenCV's INTER_AREA.

    Args:
        before: Height and width of what it takes.
        after: Height and width of what it returns.
    """

    def __init__(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        self._rows, self._columns = (_area_weights(a, b) for a, b in zip(before, after, strict=True))

    def __call__(self, picture: Array) -> Array:
        """Return `picture` [H, W] or [H, W, C] float32 resized."""
        height, width = picture.shape[:2]
        rows = (self._rows @ picture.reshape(height, -1)).reshape(-1, width, picture[0, 0].size)
        resized: Array = self._columns @ rows  # [h, w, C]
        return resized.reshape(*resized.shape[:2], *picture.shape[2:])


def is_picture(space: Space) -> bool:
    """Return whether observations of `space` are pictures: uint8 [H, W] or [H, W, C] with 1, 3 or 4 colours."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return False
    return len(space.shape) == 2 or (len(space.shape) == 3 and space.shape[-1] in (1, 3, 4))


def _area_weights(before: int, after: int) -> Array:
    """Return [after, before] float32: the part of each old pixel in the mean that is a new one."""
    edges = np.arange(after + 1) * (before / after)
    old = np.arange(before)
    covered: Array = np.minimum(edges[1:, None], old + 1.0) - np.maximum(edges[:-1, None], old)
    weights: Array = (np.clip(covered, 0.0, None) * (after / before)).astype(np.float32)
    return weights
