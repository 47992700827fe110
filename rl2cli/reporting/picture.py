"""What a video shows: one environment or a grid of them, each with a line of figures under its picture."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rl2cli.errors import RL2Error
from rl2cli.reporting.figures import count, significant

SMALL = 360
"""Pictures lower than this are enlarged by whole factors, so that their text can be read."""
LARGEST = (2160, 3840)
"""Height and width beyond which a grid is made smaller by whole factors."""
GAP = 4
"""Pixels between the pictures of a grid."""
_GROUND, _DIM, _BRIGHT = (24, 24, 27), (161, 161, 170), (250, 250, 250)


class Caption(NamedTuple):
    """Where an episode is."""

    step: int
    reward: float
    total: float
    """Return so far."""


class Scene:
    """Puts pictures side by side in a grid, in rows, all of one size; places without a picture stay dark.

    Args:
        rows: Of the grid.
        columns: Of the grid.
        captions: Whether step, reward and return are written under each picture.
    """

    def __init__(self, rows: int = 1, columns: int = 1, *, captions: bool = True) -> None:
        self.rows, self.columns, self._captions = rows, columns, captions
        self._whole = np.zeros((0, 0, 3), np.uint8)

    def compose(self, pictures: Sequence[np.ndarray], captions: Sequence[Caption]) -> np.ndarray:
        """Return one picture, [height, width, 3] uint8, of one per environment; the next one overwrites it.

        Raises:
            RL2Error: One of them is no picture.
        """
        cells = [self._cell(picture, caption) for picture, caption in zip(pictures, captions, strict=True)]
        height, width = (max(cell.shape[axis] for cell in cells) for axis in (0, 1))
        height, width = height + GAP, width + GAP
        shape = (self.rows * height - GAP, self.columns * width - GAP, 3)
        if self._whole.shape != shape:
            self._whole = np.full(shape, _GROUND, np.uint8)
        whole = self._whole
        for index, cell in enumerate(cells):
            top, left = index // self.columns * height, index % self.columns * width
            whole[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
        return whole

    def _cell(self, picture: np.ndarray, caption: Caption) -> np.ndarray:
        scaled = _scaled(as_rgb(picture), self.rows, self.columns)
        return np.concatenate([scaled, _line(caption, scaled.shape[1])]) if self._captions else scaled


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """Return a picture as [height, width, 3] uint8; gray ones and those with an alpha channel become so.

    Raises:
        RL2Error: It is no picture.
    """
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim != 3 or picture.dtype != np.uint8 or picture.shape[-1] not in (1, 3, 4) or 0 in picture.shape:
        raise RL2Error(
            f"the environment drew something of shape {picture.shape} and type {picture.dtype}",
            hint="a picture is [height, width, 3] uint8",
        )
    return np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture[..., :3]


def _scaled(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    height, width = picture.shape[:2]
    larger = math.ceil(SMALL / height)
    if larger > 1 and rows * height * larger <= LARGEST[0] and columns * width * larger <= LARGEST[1]:
        return picture.repeat(larger, axis=0).repeat(larger, axis=1)
    smaller = math.ceil(max(rows * height / LARGEST[0], columns * width / LARGEST[1]))
    return np.asarray(Image.fromarray(picture).reduce(smaller)) if smaller > 1 else picture


def _line(caption: Caption, width: int) -> np.ndarray:
    """Return the figures of an episode as a strip, [height, width, 3], so that nothing of the picture is hidden."""
    size = max(9, min(20, width // 24))
    image = Image.new("RGB", (width, round(1.7 * size)), _GROUND)
    draw = ImageDraw.Draw(image)
    fields = (("step", count(caption.step)), ("reward", _figure(caption.reward)), ("return", _figure(caption.total)))
    margin, room = size // 2, width / len(fields)
    for index, (name, value) in enumerate(fields):
        font = _fitting(f"{name} {value}", size, room - margin)
        left, middle = margin + index * room, image.height / 2
        draw.text((left, middle), f"{name} ", _DIM, font, anchor="lm")
        draw.text((left + font.getlength(f"{name} "), middle), value, _BRIGHT, font, anchor="lm")
    return np.asarray(image)


def _figure(number: float) -> str:
    return f"{number:.0f}" if float(number).is_integer() and abs(number) < 1e6 else significant(number)


def _fitting(text: str, size: int, room: float) -> ImageFont.FreeTypeFont:
    while size > 6 and _font(size).getlength(text) > room:
        size -= 1
    return _font(size)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
