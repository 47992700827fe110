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
        self._edges = [np.arange(new + 1) * (old / new) for old, new in zip(before, after, strict=True)]

    def __call__(self, picture: Array) -> Array:
        """Return `picture` [H, W] or [H, W, C] resized, float64."""
        rows, columns = self._edges
        narrow = _area_means(picture, rows)
        return _area_means(narrow.swapaxes(0, 1), columns).swapaxes(0, 1)


def is_picture(space: Space) -> bool:
    """Return whether observations of `space` are pictures: uint8 [H, W] or [H, W, C] with 1, 3 or 4 colours."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return False
    return len(space.shape) == 2 or (len(space.shape) == 3 and space.shape[-1] in (1, 3, 4))


def _area_means(picture: Array, edges: Array) -> Array:
    """Return the means of `picture` [n, ...] between neighbours of `edges` [m + 1], along the first axis, [m, ...].

    They are differences of running sums. A product with a matrix of weights would be BLAS's, whose threads wait for
    each other a hundred times longer than this takes where other processes have the cores.
    """
    sums = np.zeros((len(picture) + 1, *picture.shape[1:]))
    np.cumsum(picture, 0, out=sums[1:])
    whole = np.minimum(edges.astype(np.int64), len(picture) - 1)
    part = (edges - whole).reshape(-1, *[1] * (picture.ndim - 1))
    means: Array = np.diff(sums[whole] + part * picture[whole], axis=0) / (edges[1] - edges[0])
    return means
