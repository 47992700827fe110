"""PhysX as a library (ovphysx): a USD stage that ovstage reads, cloned inside the simulator."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any, ClassVar

import torch

from rl2cli.envs.omniverse.engine import Engine, Quantity, grid, require_one_each
from rl2cli.envs.omniverse.quiet import quiet
from rl2cli.envs.omniverse.stage import ENVIRONMENTS, FIRST, SCENE, Scene, write_wrapper
from rl2cli.errors import EnvironmentFault

_POSES = (Quantity.ROOT_POSE, Quantity.BODY_POSE)


class PhysXEngine(Engine):
    """N clones of a scene on a square grid; a process can have one at a time.

    Args:
        scene: What is cloned.
        num_envs: N.
        spacing: Metres between neighbours.
        ground: Whether there is a level ground at height 0.
        friction: Of the ground.
        device: CPU or a CUDA device.

    Raises:
        EnvironmentFault: This process has one already, or PhysX refused the scene.
    """

    _open: ClassVar[PhysXEngine | None] = None

    def __init__(
        self, scene: Scene, *, num_envs: int, spacing: float, ground: bool, friction: float, device: torch.device
    ) -> None:
        if PhysXEngine._open is not None:
            raise EnvironmentFault(
                "PhysX has one scene in a process, and this process has one already",
                hint="close it first; `make_env_adapter` gives a further one a process of its own",
            )
        self.num_envs, self.device = num_envs, device
        self._bindings: dict[Quantity, Any] = {}
        self._physx: Any = None
        self._stage: Any = None
        self._pattern = f"{ENVIRONMENTS}/env*/{SCENE}{scene.articulation}"
        self._origins = grid(num_envs, spacing, device)
        PhysXEngine._open = self
        try:
            with tempfile.TemporaryDirectory(prefix="rl2-scene-") as folder, quiet():
                wrapper = Path(folder) / "stage.usda"
                write_wrapper(scene, wrapper, ground=ground, friction=friction)
                self._start(wrapper)
                self._describe()
        except BaseException:
            self.close()
            raise

    def read(self, quantity: Quantity, into: torch.Tensor) -> None:
        """Copy what `quantity` is now."""
        self._binding(quantity).read(into)
        if quantity in _POSES:
            into[..., :3] -= self._origins if into.ndim == 2 else self._origins[:, None]

    def write(self, quantity: Quantity, values: torch.Tensor, rows: torch.Tensor | None = None) -> None:
        """Set `quantity`."""
        if quantity in _POSES:
            values = values.clone()
            values[:, :3] += self._origins
        binding = self._binding(quantity)
        if rows is None:
            binding.write(values)
        else:
            binding.write(values, indices=rows)
        if self.device.type != "cpu":  # where it is not done with the next read
            self._physx.update_articulations_kinematic()

    def step(self, seconds: float, count: int) -> None:
        """Move time on."""
        self._physx.step_n_sync(count, seconds)

    def close(self) -> None:
        """Let go of the stage and of PhysX."""
        if PhysXEngine._open is not self:
            return
        PhysXEngine._open = None
        with quiet():
            for binding in self._bindings.values():
                binding.destroy()
            self._bindings.clear()
            if self._physx is not None:
                self._physx.wait_all()
                if self._stage is not None:
                    self._physx.detach_ovstage()
                    self._stage.destroy()
                self._physx.destroy()

    def _start(self, wrapper: Path) -> None:
        import ovphysx
        import ovstage

        ovphysx.set_log_level(ovphysx.LogLevel.ERROR)
        ovphysx.enable_default_log_output(False)
        ovphysx.PhysX.set_cpu_mode(self.device.type == "cpu")
        # threads of PhysX's own were slower at every size tried: the calling one does the work
        physx = self._physx = ovphysx.PhysX(config=ovphysx.PhysXConfig(num_threads=0))
        schemas = [str(ovphysx.codeless_schema_root()), str(ovphysx.newton_schema_root())]
        ovstage.population.register_usd_schemas(schemas)
        stage = ovstage.Stage("rl2")
        ovstage.population.open_usd(stage, str(wrapper), ordinal=1, domains=ovstage.PopulationDomain.PHYSICS)
        stage.advance_write_floor(ordinal=1).wait()
        physx.attach_ovstage(stage, read_ordinal=1)
        self._stage = stage
        if self.num_envs > 1:
            targets = [f"{ENVIRONMENTS}/env{index:06}" for index in range(1, self.num_envs)]
            places = [(x, y, z, 0.0, 0.0, 0.0, 1.0) for x, y, z in self._origins[1:].tolist()]
            physx.clone(FIRST, targets, anchor_transforms=places)
        physx.wait_all()
        physx.warmup()
        physx.wait_all()

    def _describe(self) -> None:
        joints = self._binding(Quantity.JOINT_POSITION)
        require_one_each(joints.count, self.num_envs)
        self.joint_names, self.body_names = tuple(joints.dof_names), tuple(joints.body_names)
        self.is_fixed = bool(joints.is_fixed_base)

    def _binding(self, quantity: Quantity) -> Any:
        if quantity not in self._bindings:
            from ovphysx.types import TensorType

            kinds = {
                Quantity.JOINT_POSITION: TensorType.ARTICULATION_DOF_POSITION,
                Quantity.JOINT_VELOCITY: TensorType.ARTICULATION_DOF_VELOCITY,
                Quantity.JOINT_EFFORT: TensorType.ARTICULATION_DOF_ACTUATION_FORCE,
                Quantity.JOINT_POSITION_TARGET: TensorType.ARTICULATION_DOF_POSITION_TARGET,
                Quantity.JOINT_VELOCITY_TARGET: TensorType.ARTICULATION_DOF_VELOCITY_TARGET,
                Quantity.JOINT_STIFFNESS: TensorType.ARTICULATION_DOF_STIFFNESS,
                Quantity.JOINT_DAMPING: TensorType.ARTICULATION_DOF_DAMPING,
                Quantity.ROOT_POSE: TensorType.ARTICULATION_ROOT_POSE,
                Quantity.ROOT_VELOCITY: TensorType.ARTICULATION_ROOT_VELOCITY,
                Quantity.BODY_POSE: TensorType.ARTICULATION_LINK_POSE,
            }
            with warnings.catch_warnings():  # ovphysx 0.6 calls its tensors deprecated; 0.7 has others
                warnings.simplefilter("ignore", DeprecationWarning)
                self._bindings[quantity] = self._physx.create_tensor_binding(
                    pattern=self._pattern, tensor_type=kinds[quantity], raise_if_empty=True
                )
        return self._bindings[quantity]
