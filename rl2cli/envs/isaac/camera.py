"""A camera beside the first environment, for videos: what Isaac Lab's `rgb_array` was, on every kind of machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

NAME = "rl2_camera"
WIDTH, HEIGHT = 480, 360
_FOCAL_LENGTH, _APERTURE = 24.0, 20.955
"""Millimetres; a view of 47 degrees."""
_NEARER = 0.6
_DRIFT = 0.25
"""Metres that the robot may go before the camera follows."""


def add_camera(configuration: Any, physics: str) -> None:
    """Put a camera into the scene of a configuration, which must have no presets left."""
    from isaaclab.sensors import CameraCfg
    from isaaclab.sim import PinholeCameraCfg

    lens = PinholeCameraCfg(focal_length=_FOCAL_LENGTH, horizontal_aperture=_APERTURE, clipping_range=(0.05, 200.0))
    camera = CameraCfg(
        prim_path="{ENV_REGEX_NS}/" + NAME,
        spawn=lens,
        data_types=["rgb"],
        width=WIDTH,
        height=HEIGHT,
        renderer_cfg=_renderer(physics),
    )
    setattr(configuration.scene, NAME, camera)


def aim(env: Any) -> None:
    """Let the camera look at the robot from where the task's viewer would, somewhat nearer."""
    view = env.cfg.sim.default_visualizer_cfg
    eye, lookat = ((4.0, -4.0, 3.0), (0.0, 0.0, 0.0)) if view is None else (view.eye, view.lookat)
    target = _place(env)
    away = torch.tensor([eye], dtype=target.dtype) - torch.tensor([lookat], dtype=target.dtype)
    env.rl2_aimed_at = target
    env.scene[NAME].set_world_poses_from_view(target + _NEARER * away.to(target.device), target)


def picture(env: Any) -> np.ndarray:
    """Return what the camera sees of the first environment, [height, width, 3] uint8."""
    if not torch.allclose(_place(env), env.rl2_aimed_at, atol=_DRIFT):
        aim(env)
    camera = env.scene[NAME]
    camera.update(dt=0.0, force_recompute=True)
    image = camera.data.output["rgb"]
    image = getattr(image, "torch", image)
    return np.ascontiguousarray(image[0, ..., :3].to(torch.uint8).cpu().numpy())


def _place(env: Any) -> torch.Tensor:
    """Return where the first environment's robot is, [1, 3]; the environment's origin where it has none."""
    for robot in env.scene.articulations.values():
        place: torch.Tensor = getattr(robot.data.root_pos_w, "torch", robot.data.root_pos_w)[:1].clone()
        return place
    origin: torch.Tensor = env.scene.env_origins[:1].clone()
    return origin


def _renderer(physics: str) -> Any:
    """Return Kit's renderer where Kit runs, else Newton's ray tracer, which needs no GPU."""
    if physics == "isaacsim":
        from isaaclab_physx.renderers import IsaacRtxRendererCfg

        return IsaacRtxRendererCfg()
    from isaaclab_newton.renderers import NewtonWarpRendererCfg

    return NewtonWarpRendererCfg()
