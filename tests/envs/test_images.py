"""Images of ordinary environments made smaller, gray and stacked."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from makes import Make

from rl2cli.envs.images import AreaResize, is_picture


def test_a_new_pixel_is_the_mean_of_its_area() -> None:
    picture = np.arange(24, dtype=np.float32).reshape(4, 6)
    expected = picture.reshape(2, 2, 2, 3).mean((1, 3))
    np.testing.assert_allclose(AreaResize((4, 6), (2, 2))(picture), expected, rtol=1e-6)
    # 3 → 2: the middle pixel belongs half to each
    np.testing.assert_allclose(AreaResize((3, 1), (2, 1))(np.array([[0.0], [3.0], [9.0]], np.float32)), [[1.0], [7.0]])


def test_colours_are_resized_each_by_itself() -> None:
    picture = np.random.default_rng(1).random((7, 5, 3), np.float32)
    resize = AreaResize((7, 5), (3, 2))
    for colour in range(3):
        np.testing.assert_allclose(resize(picture)[..., colour], resize(picture[..., colour]), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"image_size": [8, 6]}, (8, 6, 3)),
        ({"grayscale": True}, (10, 12)),
        ({"image_size": [5, 6], "grayscale": True, "frame_stack": 4}, (4, 5, 6)),
        ({"frame_stack": 2}, (2, 10, 12, 3)),
    ],
)
def test_an_environment_of_pictures(toy: Make, options: dict[str, object], shape: tuple[int, ...]) -> None:
    env = toy("Picture", 2, **options)
    assert env.observation_space == spaces.Box(0, 255, shape, np.uint8)
    observation, _ = env.reset(np.array([1, 2]))
    assert observation.shape == (2, *shape)
    gray = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    newest = observation[0] if options.get("frame_stack", 1) == 1 else observation[0, -1]
    expected = [gray] if options.get("grayscale") else [200, 100, 50]
    assert newest.reshape(-1, len(expected)).unique(dim=0).tolist() == [expected]


def test_pictures_inside_a_dict_are_resized_and_vectors_left_alone(toy: Make) -> None:
    env = toy("PictureAndVector", 2, image_size=[4, 4])
    assert isinstance(env.observation_space, spaces.Dict)
    assert {key: space.shape for key, space in env.observation_space.items()} == {"picture": (4, 4, 3), "vector": (2,)}
    observation, _ = env.reset(np.array([1, 2]))
    assert isinstance(observation, dict)
    assert observation["picture"].shape == (2, 4, 4, 3)  # type: ignore[union-attr]  # a tensor


def test_what_is_a_picture() -> None:
    assert is_picture(spaces.Box(0, 255, (8, 8, 3), np.uint8))
    assert is_picture(spaces.Box(0, 255, (8, 8), np.uint8))
    assert not is_picture(spaces.Box(0, 255, (8,), np.uint8))
    assert not is_picture(spaces.Box(0, 255, (4, 8, 8), np.uint8))
    assert not is_picture(spaces.Box(0.0, 1.0, (8, 8, 3), np.float32))
