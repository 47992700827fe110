"""Drawing: which form of an environment draws, what its last picture is, and where there is no display."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import torch

from rl2cli.envs import make_env_adapter, rendering
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.in_process import InProcessBatch
from rl2cli.errors import EnvironmentFault, UsageError


def drawing(env_id: str, render_mode: str = "rgb_array", **options: Any) -> BaseEnvAdapter:
    return make_env_adapter({"id": env_id, "num_envs": 1, **options}, render_mode=render_mode, workers=0)


def test_the_last_picture_is_of_the_episode_that_ended() -> None:
    with closing(drawing("toy_environments:Counter-v0")) as env:
        env.reset(np.arange(1))
        shown = []
        for _ in range(5):
            env.step(torch.tensor([0]))
            shown.append(int(env.render()[0, 0, 0]))
        assert shown == [1, 2, 3, 4, 1]  # the episode had four steps; rl2 had begun the next one by then
        env.reset(np.arange(1))
        assert int(env.render()[0, 0, 0]) == 0


@pytest.mark.parametrize(
    ("env_id", "shape", "fps"), [("CartPole-v1", (400, 600, 3), 50), ("ALE/Pong-v5", (210, 160, 3), 15)]
)
def test_the_single_form_draws_where_the_vector_form_trains(env_id: str, shape: tuple[int, ...], fps: float) -> None:
    options = {"atari": {"terminal_on_life_loss": True}} if env_id.startswith("ALE") else {}
    with closing(drawing(env_id, **options)) as env, closing(make_env_adapter({"id": env_id, "num_envs": 2})) as native:
        assert isinstance(env, InProcessBatch)
        assert not isinstance(native, InProcessBatch)
        assert env.observation_space == native.observation_space
        assert env.action_space == native.action_space
        env.reset(np.arange(1))
        picture = env.render()
        assert (picture.shape, picture.dtype) == (shape, np.uint8)
        assert env.render_fps == fps


def test_an_environment_without_pictures_is_refused_with_its_modes() -> None:
    with pytest.raises(UsageError, match="cannot draw pictures: it has only the render mode ansi"):
        drawing("toy_environments:Talkative-v0")
    with pytest.raises(UsageError, match="cannot open a window: it has only the render mode ansi"):
        drawing("toy_environments:Talkative-v0", render_mode="human")


def test_what_drawing_raises_is_the_environments_fault() -> None:
    with closing(drawing("toy_environments:Invisible-v0")) as env:
        env.reset(np.arange(1))
        with pytest.raises(EnvironmentFault, match=r"drawing environment 0 raised OSError: no GL") as caught:
            env.render()
        assert "MUJOCO_GL" in str(caught.value.hint)


@pytest.mark.parametrize(("library", "chosen"), [("libEGL.so.1", "egl"), ("libOSMesa.so.8", "osmesa"), ("", None)])
def test_without_a_display_something_else_draws(
    monkeypatch: pytest.MonkeyPatch, library: str, chosen: str | None
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "MUJOCO_GL"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(rendering, "_loads", lambda name: name == library)
    rendering.prepare_drawing()
    assert os.environ["SDL_VIDEODRIVER"] == "dummy"
    assert os.environ.get("MUJOCO_GL") == chosen
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    monkeypatch.setenv("SDL_VIDEODRIVER", "offscreen")
    rendering.prepare_drawing()
    assert (os.environ["SDL_VIDEODRIVER"], os.environ["MUJOCO_GL"]) == ("offscreen", "glfw")


def test_a_display_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("SDL_VIDEODRIVER", "x")
    monkeypatch.delenv("SDL_VIDEODRIVER")
    rendering.prepare_drawing()
    assert "SDL_VIDEODRIVER" not in os.environ


@pytest.mark.parametrize(("fps", "expected"), [(50, 50.0), (0, None), ("fast", None), (None, None)])
def test_pictures_per_second(fps: object, expected: float | None) -> None:
    assert rendering.pictures_per_second({"render_fps": fps}) == expected
    assert rendering.pictures_per_second(None) is None
