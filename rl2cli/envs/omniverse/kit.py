"""Isaac Sim's Kit: a USD stage with all copies in it, opened by the app, and PhysX as it comes with Omniverse.

Written for the interface of Isaac Sim 5 and 6, and not run on either: the tests have a fake with that interface.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import torch

from rl2cli.envs.isaac.quiet import chatter_kept
from rl2cli.envs.omniverse.engine import Engine, Quantity, grid, require_one_each
from rl2cli.envs.omniverse.kit_app import start_kit
from rl2cli.envs.omniverse.stage import ENVIRONMENTS, SCENE, Scene, write_copies, write_wrapper
from rl2cli.errors import EnvironmentFault

WARM_UP = 1e-9
"""Seconds of the steps that PhysX takes before its tensors can be read."""
_POSES = (Quantity.ROOT_POSE, Quantity.BODY_POSE)
_ON_CPU = (Quantity.JOINT_STIFFNESS, Quantity.JOINT_DAMPING)
"""What PhysX takes from the CPU's memory, also where it steps on a GPU."""
_TENSORS = {
    Quantity.JOINT_POSITION: "dof_positions",
    Quantity.JOINT_VELOCITY: "dof_velocities",
    Quantity.JOINT_EFFORT: "dof_actuation_forces",
    Quantity.JOINT_POSITION_TARGET: "dof_position_targets",
    Quantity.JOINT_VELOCITY_TARGET: "dof_velocity_targets",
    Quantity.JOINT_STIFFNESS: "dof_stiffnesses",
    Quantity.JOINT_DAMPING: "dof_dampings",
    Quantity.ROOT_POSE: "root_transforms",
    Quantity.ROOT_VELOCITY: "root_velocities",
    Quantity.BODY_POSE: "link_transforms",
}


class KitEngine(Engine):
    """N copies of a scene on a square grid, in the one stage that Kit has open.

    Args:
        scene: What is copied.
        num_envs: N.
        spacing: Metres between neighbours.
        ground: Whether there is a level ground at height 0.
        friction: Of the ground.
        device: CPU or a CUDA device.

    Raises:
        MissingDependencyError: Isaac Sim is not installed, or the user has not accepted its licence.
        EnvironmentFault: Kit does not start, is in use already, or refused the scene.
    """

    _open: ClassVar[KitEngine | None] = None

    def __init__(
        self, scene: Scene, *, num_envs: int, spacing: float, ground: bool, friction: float, device: torch.device
    ) -> None:
        if KitEngine._open is not None:
            raise EnvironmentFault(
                "Kit has one stage in a process, and this process has one already",
                hint="close it first; `make_env_adapter` gives a further one a process of its own",
            )
        self._app = start_kit()
        self.num_envs, self.device = num_envs, device
        self._origins = grid(num_envs, spacing, device)
        self._rows = torch.arange(num_envs, dtype=torch.int32, device=device)
        self._time = 0.0
        self._view: Any = None
        self._folder = tempfile.TemporaryDirectory(prefix="rl2-scene-")
        KitEngine._open = self
        try:
            with chatter_kept():
                stage = Path(self._folder.name) / "stage.usda"
                write_wrapper(scene, stage, ground=ground, friction=friction)
                write_copies(stage, self._origins.tolist(), on_gpu=device.type == "cuda")
                self._load(stage)
                self._bind(f"{ENVIRONMENTS}/env*/{SCENE}{scene.articulation}")
        except BaseException:
            self.close()
            raise

    def read(self, quantity: Quantity, into: torch.Tensor) -> None:
        """Copy what `quantity` is now."""
        if quantity is Quantity.BODY_POSE:
            self._view.update_articulations_kinematic()
        into.copy_(getattr(self._articulations, f"get_{_TENSORS[quantity]}")())
        if quantity in _POSES:
            into[..., :3] -= self._origins if into.ndim == 2 else self._origins[:, None]

    def write(self, quantity: Quantity, values: torch.Tensor, rows: torch.Tensor | None = None) -> None:
        """Set `quantity`."""
        rows = self._rows if rows is None else rows
        if quantity in _POSES:
            values = values.clone()
            values[:, :3] += self._origins
        if quantity in _ON_CPU:
            values, rows = values.cpu(), rows.cpu()
        getattr(self._articulations, f"set_{_TENSORS[quantity]}")(values, rows)

    def step(self, seconds: float, count: int) -> None:
        """Move time on."""
        for _ in range(count):
            self._physics.simulate(seconds, self._time)
            self._physics.fetch_results()
            self._time += seconds

    def close(self) -> None:
        """Let go of the stage; Kit's app, whose end would be that of the process, stays until then."""
        if KitEngine._open is not self:
            return
        KitEngine._open = None
        import omni.usd

        with chatter_kept():
            if self._view is not None:
                self._view.invalidate()
                self._physics.detach_stage()
            omni.usd.get_context().close_stage()
        self._folder.cleanup()

    def _load(self, stage: Path) -> None:
        """Open the stage, with the settings that PhysX reads as it makes its scene."""
        import carb.settings
        import omni.usd

        settings, on_gpu = carb.settings.get_settings(), self.device.type == "cuda"
        settings.set_bool("/physics/suppressReadback", on_gpu)  # keeps what the GPU steps on the GPU
        if on_gpu:
            settings.set_int("/physics/cudaDevice", self.device.index or 0)
        for name in ("updateToUsd", "updateVelocitiesToUsd"):  # nobody looks at the stage
            settings.set_bool(f"/physics/{name}", False)
        context = omni.usd.get_context()
        if not context.open_stage(str(stage)):
            raise EnvironmentFault("Kit could not open the scene", hint="is every file that it refers to there?")
        self._app.update()
        while context.get_stage_loading_status()[2] > 0:
            self._app.update()

    def _bind(self, pattern: str) -> None:
        """Give the stage to PhysX, and take the articulations that it finds."""
        import omni.physics.tensors
        import omni.physx
        import omni.usd

        physx, self._physics = omni.physx.get_physx_interface(), omni.physx.get_physx_simulation_interface()
        stage = omni.usd.get_context().get_stage_id()
        if self.device.type == "cuda":  # on the CPU, to load is to attach; both together break its collisions
            self._physics.attach_stage(stage)
        physx.force_load_physics_from_usd()
        physx.start_simulation()
        self.step(WARM_UP, 1)
        self._view = omni.physics.tensors.create_simulation_view("torch", stage_id=stage)
        self._view.set_subspace_roots("/")
        self._articulations = self._view.create_articulation_view(pattern)
        self.step(WARM_UP, 1)
        require_one_each(self._articulations.count, self.num_envs)
        described = self._articulations.shared_metatype
        self.joint_names, self.body_names = tuple(described.dof_names), tuple(described.link_names)
        self.is_fixed = bool(described.fixed_base)
