"""What a video shows: sizes, grids, and the figures under a picture."""

from __future__ import annotations

import numpy as np
import pytest

from rl2cli.errors import RL2Error
from rl2cli.reporting.picture import GAP, Caption, Scene, as_rgb

CAPTION = Caption(12_345, -0.123456, 1234.5)


def plain(height: int, width: int, level: int = 255) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize(
    ("size", "grid", "expected"),
    [
        ((400, 600), (1, 1), (400, 600)),
        ((210, 160), (1, 1), (420, 320)),
        ((4, 4), (1, 1), (360, 360)),
        ((500, 500), (5, 5), (1250 + 4 * GAP, 1250 + 4 * GAP)),  # 2,500 were too many
    ],
)
def test_sizes(size: tuple[int, int], grid: tuple[int, int], expected: tuple[int, int]) -> None:
    cells = grid[0] * grid[1]
    whole = Scene(*grid, captions=False).compose([plain(*size)] * cells, [CAPTION] * cells)
    assert whole.shape == (*expected, 3)


def test_figures_stand_under_the_picture_and_hide_nothing() -> None:
    bare = Scene(captions=False).compose([plain(210, 160)], [CAPTION])
    whole = Scene().compose([plain(210, 160)], [CAPTION])
    assert np.array_equal(whole[:420], bare)
    strip = whole[420:]
    assert 15 <= len(strip) <= 40
    assert strip.max() > 240  # bright figures
    assert (strip[:, -1] == strip[0, 0]).all()  # which end before the edge
    other = Scene().compose([plain(210, 160)], [CAPTION._replace(step=12_346)])
    assert not np.array_equal(other[420:], strip)


def test_a_grid_leaves_places_dark() -> None:
    scene = Scene(2, 2, captions=False)
    whole = scene.compose([plain(400, 400, level) for level in (50, 100, 150)], [CAPTION] * 3)
    at = 400 + GAP
    assert [whole[y, x, 0] for y, x in ((0, 0), (0, at), (at, 0), (at, at))] == [50, 100, 150, 24]
    assert whole[399, 401, 0] == 24
    again = scene.compose([plain(400, 400, 7)] * 3, [CAPTION] * 3)
    assert again[at, at, 0] == 24
    assert again[at, 0, 0] == 7


def test_gray_and_transparent_pictures() -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(as_rgb(gray), np.stack([gray] * 3, axis=-1))
    assert np.array_equal(as_rgb(gray[..., None]), as_rgb(gray))
    assert as_rgb(np.zeros((3, 4, 4), np.uint8)).shape == (3, 4, 3)
    for wrong in (
        np.zeros((3, 4, 3)),
        np.zeros((3, 4, 2), np.uint8),
        np.zeros(3, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ):
        with pytest.raises(RL2Error, match="drew something of shape"):
            as_rgb(wrong)
