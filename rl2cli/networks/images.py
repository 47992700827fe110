"""What an image is to a network: uint8 or float observations as planes [B, C, H, W], scaled to [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.errors import UsageError

COLOURS = (1, 3, 4)
"""Sizes of a last axis that is colours: gray, RGB, RGBA."""


class ImageInput:
    """Turns images of one space into planes.

    [H, W] is one plane. [H, W, C] with 1, 3 or 4 colours has them as planes, and so has [C, H, W] with anything else
    first, such as stacked gray frames. [S, H, W, C], stacked colour images, has S × C planes.

    Args:
        space: Of one image.
        network: Name of who takes it, for messages.

    Raises:
        UsageError: It is no image, or one of floats outside [0, 1].
    """

    def __init__(self, space: spaces.Space[Any], network: str) -> None:
        if not is_image(space):
            raise UsageError(
                f"the {network} network takes images, not an observation of {_described(space)}",
                hint='name = "mlp" under [network] takes vectors, "multi" a Dict of both',
                place="network.name",
            )
        assert isinstance(space, spaces.Box)
        if space.dtype != np.uint8 and not (space.low.min() >= 0.0 and space.high.max() <= 1.0):
            raise UsageError(
                f"the {network} network takes images of floats in [0, 1]; this space goes from {space.low.min():g} to "
                f"{space.high.max():g}",
                hint="let the environment give uint8 from 0 to 255, or divide by the largest value",
                place="env.id",
            )
        shape = space.shape
        self._colours_last = len(shape) == 4 or (len(shape) == 3 and not has_planes_first(shape))
        if len(shape) == 2:
            self.channels, self.height, self.width = 1, *shape
        elif len(shape) == 4:
            self.channels, self.height, self.width = shape[0] * shape[3], *shape[1:3]
        elif self._colours_last:
            self.height, self.width, self.channels = shape
        else:
            self.channels, self.height, self.width = shape

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return `images` [B, *shape] as planes [B, C, H, W], not yet scaled, in memory colours last.

        They are float32, or what autocast computes in: bfloat16 has every number of a byte.
        """
        if images.ndim == 3:
            images = images.unsqueeze(1)
        elif images.ndim == 5:
            images = images.movedim(4, 2).flatten(1, 2)
        elif self._colours_last:
            images = images.movedim(3, 1)
        else:
            images = interleaved(images)
        device = images.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        return images.to(dtype, memory_format=torch.channels_last)

    def scale(self, images: torch.Tensor) -> float:
        """Return what planes of `images` are to be multiplied by, which is cheaper in the weights of the first layer.

        Images of bytes that come as floats have been standardised.
        """
        return 1.0 if images.is_floating_point() else 1.0 / 255.0


def has_planes_first(shape: tuple[int, ...]) -> bool:
    """Return whether an image of `shape` is [C, H, W], not [H, W, C] with its colours last."""
    return len(shape) == 3 and not (shape[-1] in COLOURS and shape[0] > shape[-1])


def interleaved(images: torch.Tensor) -> torch.Tensor:
    """Return `images` [B, C, H, W], on the CPU with the planes last in memory, as convolutions want them.

    `to` takes twice as long to change the layout; of bytes this is cheaper than of floats.
    """
    if not images.is_cpu or images.is_contiguous(memory_format=torch.channels_last):
        return images
    return torch.stack(images.unbind(1), -1).movedim(3, 1)


def planes_last(tensor: torch.Tensor) -> torch.Tensor:
    """Return images of bytes [B, C, H, W] `interleaved`, and any other tensor as it is."""
    stacked = tensor.dtype == torch.uint8 and tensor.ndim == 4 and has_planes_first(tensor.shape[1:])
    return interleaved(tensor) if stacked else tensor


def take_rows(tensor: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return the rows of `tensor` [B, ...] at `index` [M] int64, in memory as they were: planes last if they are."""
    if tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.movedim(1, 3).index_select(0, index).movedim(3, 1)
    return tensor.index_select(0, index)


def is_image(space: spaces.Space[Any]) -> bool:
    """Return whether observations of `space` are images: uint8 with two to four axes, or floats with three or four."""
    if not isinstance(space, spaces.Box):
        return False
    return len(space.shape) in ((2, 3, 4) if space.dtype == np.uint8 else (3, 4))


def least_size(kernels: list[tuple[int, int]]) -> int:
    """Return the smallest height and width that convolutions, (kernel, stride) each, without padding can take."""
    size = 1
    for kernel, stride in reversed(kernels):
        size = (size - 1) * stride + kernel
    return size


def _described(space: spaces.Space[Any]) -> str:
    if isinstance(space, spaces.Box):
        return f"shape {space.shape} and dtype {space.dtype}"
    return f"type {type(space).__name__}"
