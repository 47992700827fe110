"""Pictures of environments, by the ray tracer of Newton (an open physics engine on Warp), on CPU or GPU."""

from __future__ import annotations

import importlib.metadata
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch

from rl2cli.envs.omniverse.options import CameraOptions
from rl2cli.envs.omniverse.quiet import quiet
from rl2cli.envs.omniverse.stage import Scene
from rl2cli.envs.warp_on_cpu import start_warp
from rl2cli.errors import EnvironmentFault, UsageError, suggestion

SKY = 0xFFF5E8DC
"""Colour where nothing is, as alpha, blue, green and red."""


class Camera:
    """One camera in each of N environments.

    Args:
        options: Where it stands, and what its pictures are like.
        scene: What it looks at.
        body_names: Names of the bodies whose poses `take` is given.
        num_envs: N.
        ground: Whether there is a ground at height 0.
        device: Of the poses and pictures.
    """

    def __init__(
        self,
        options: CameraOptions,
        scene: Scene,
        body_names: tuple[str, ...],
        *,
        num_envs: int,
        ground: bool,
        device: torch.device,
    ) -> None:
        self._followed = _index(options.follow, body_names)
        self._device = device
        _announce_compilation()
        with quiet():  # which says that there is no driver
            self._warp = start_warp()
        self._model = _drawing_model(scene, num_envs, ground, device)
        self._state = self._model.state()
        self._order = self._body_order(body_names)
        self._build(options)

    def take(self, body_pose: torch.Tensor) -> torch.Tensor:
        """Return pictures [N, H, W, 3] uint8 of bodies at [N, B, 7]."""
        wp = self._warp
        poses = body_pose[:, self._order].reshape(-1, 7).contiguous()
        self._state.body_q.assign(wp.from_torch(poses, dtype=wp.transformf))
        if self._followed is not None:
            places = self._place.clone()
            places[:, :3] += body_pose[:, self._followed, :3]
            self._places = wp.from_torch(places[None].contiguous(), dtype=wp.transformf)
        self._model.bvh_refit_shapes(self._state)
        self._sensor.update(
            self._state, self._places, self._rays, color_image=self._colours, clear_data=self._background
        )
        pixels: torch.Tensor = wp.to_torch(self._colours.view(wp.int32)).view(torch.uint8)  # [N, 1, H, W × 4]
        count, _, height, _ = pixels.shape
        return pixels.reshape(count, height, -1, 4)[..., :3]

    def _build(self, options: CameraOptions) -> None:
        from newton.sensors import SensorTiledCamera

        wp, (height, width) = self._warp, options.size
        config = SensorTiledCamera.RenderConfig(enable_textures=True, enable_shadows=False)
        self._sensor = SensorTiledCamera(self._model, default_render_config=config)
        tools = self._sensor.utils
        tools.create_default_light(enable_shadows=False, direction=wp.vec3f(-0.3, 0.5, -0.81))
        self._checker_ground(tools)
        self._rays = tools.compute_camera_rays_pinhole(width, height, camera_fovs=options.field_of_view)
        self._colours = tools.create_color_image_output(width, height)
        self._background = SensorTiledCamera.ClearData(clear_color=SKY, clear_albedo=0xFF000000)
        pose = torch.tensor([*options.position, *looking(options.position, options.target)], device=self._device)
        self._place = pose.repeat(self._model.world_count, 1)  # [N, 7]
        self._places = wp.from_torch(self._place[None].contiguous(), dtype=wp.transformf)

    def _checker_ground(self, tools: Any) -> None:
        """Give the ground squares, by which movement is seen."""
        ground = [index for index, world in enumerate(self._model.shape_world.numpy()) if world < 0]
        if ground:
            tools.assign_checkerboard_material(shape_indices=ground, resolution=64, checker_size=32)

    def _body_order(self, names: tuple[str, ...]) -> list[int]:
        """Return which of the poses each body of the drawing model has."""
        per_world = self._model.body_count // self._model.world_count
        drawn = [str(label).rpartition("/")[2] for label in self._model.body_label[:per_world]]
        unknown = [name for name in drawn if name not in names]
        if unknown or len(set(drawn)) < len(drawn):
            raise EnvironmentFault(
                f"the camera cannot tell the bodies of the scene apart: {', '.join(drawn)}",
                hint="every body needs a name of its own, and has to belong to the articulation",
            )
        return [names.index(name) for name in drawn]


def _index(name: str | None, body_names: tuple[str, ...]) -> int | None:
    if name is None or name in body_names:
        return None if name is None else body_names.index(name)
    raise UsageError(
        f"a camera is to follow {name!r}, which is no body of the scene",
        hint=suggestion(name, body_names) or f"there are: {', '.join(body_names)}",
        place="env.cameras",
    )


def looking(position: list[float], target: list[float]) -> list[float]:
    """Return the orientation (x, y, z, w) of a camera at `position` that looks at `target`; upright, z is up."""
    back = np.subtract(position, target).astype(float)
    back /= np.linalg.norm(back)
    right = np.cross([0.0, 0.0, 1.0], back)
    right = np.array([1.0, 0.0, 0.0]) if np.linalg.norm(right) < 1e-6 else right / np.linalg.norm(right)
    turn = np.stack([right, np.cross(back, right), back], 1)  # its axes as columns
    # Shepperd 1978, Quaternion from rotation matrix: from the largest of the four
    trace = np.array([turn[0, 0], turn[1, 1], turn[2, 2], np.trace(turn)])
    largest = int(trace.argmax())
    if largest == 3:
        parts = [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1], 1 + trace[3]]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        parts = [0.0, 0.0, 0.0, turn[k, j] - turn[j, k]]
        parts[i] = 1 + turn[i, i] - turn[j, j] - turn[k, k]
        parts[j], parts[k] = turn[j, i] + turn[i, j], turn[k, i] + turn[i, k]
    length = math.sqrt(sum(float(part) ** 2 for part in parts))
    return [float(part) / length for part in parts]


def _drawing_model(scene: Scene, num_envs: int, ground: bool, device: torch.device) -> Any:
    """Return the Newton model of N copies, which is only looked at, never stepped."""
    import newton

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, whole = newton.ModelBuilder(), newton.ModelBuilder()
        one.add_usd(str(scene.file), root_path=scene.root, collapse_fixed_joints=False)
        if ground:
            whole.add_ground_plane()
        whole.replicate(one, num_envs)
        return whole.finalize(device=str(device))


def _announce_compilation() -> None:
    """Say once for each version that kernels are compiled, which takes long and is kept."""
    versions = "-".join(importlib.metadata.version(name) for name in ("warp-lang", "newton"))
    mark = Path(platformdirs.user_cache_dir("rl2", appauthor=False)) / f"camera-{versions}"
    if mark.exists():
        return
    print("compiling the camera's kernels: a minute, once; they are kept", file=sys.stderr, flush=True)
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:
        return  # it is said again
