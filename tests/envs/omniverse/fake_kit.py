"""Isaac Sim's Kit without Isaac Sim: the modules and calls that the engine uses, over the fake engine's physics.

As the real one, it has no module but `isaacsim` before its app starts, opens one stage, has its tensors in the frame of
the world, and moves bodies with written joints when it is told to.
"""

import fnmatch
import signal
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import torch
from fake_engine import FakeEngine

from rl2cli.envs.omniverse.engine import Quantity

QUANTITIES = {
    "dof_positions": Quantity.JOINT_POSITION,
    "dof_velocities": Quantity.JOINT_VELOCITY,
    "dof_actuation_forces": Quantity.JOINT_EFFORT,
    "dof_position_targets": Quantity.JOINT_POSITION_TARGET,
    "dof_velocity_targets": Quantity.JOINT_VELOCITY_TARGET,
    "dof_stiffnesses": Quantity.JOINT_STIFFNESS,
    "dof_dampings": Quantity.JOINT_DAMPING,
    "root_transforms": Quantity.ROOT_POSE,
    "root_velocities": Quantity.ROOT_VELOCITY,
    "link_transforms": Quantity.BODY_POSE,
}
WIDTHS = {"root_transforms": (7,), "root_velocities": (6,), "link_transforms": (3, 7)}


class Kit:
    """All of Kit's state.

    Args:
        articulations: How many it finds, in place of one in each environment.
        is_fixed: Whether the scene holds its root.
    """

    def __init__(self, *, articulations=None, is_fixed=True):
        self.calls, self.settings = [], {}
        self._articulations, self._is_fixed = articulations, is_fixed
        self._is_open = self._is_started = self._is_simulating = False
        self._loading = 2
        self._pxr = MagicMock(name="pxr")

    def install(self):
        """Let `isaacsim` be there, and nothing else of Kit."""
        module("isaacsim", SimulationApp=self.start)

    def start(self, config):
        brought = {"carb", "omni", "pxr"}
        assert not [name for name in sys.modules if name.partition(".")[0] in brought], "imported before the app"
        assert len(sys.argv) == 1, "Kit would take rl2's arguments"
        assert config["headless"]
        assert not config["fast_shutdown"]
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
        print("Starting kit application")
        settings = SimpleNamespace(set_bool=self.settings.__setitem__, set_int=self.settings.__setitem__)
        module("carb.settings", get_settings=lambda: settings)
        module("omni.usd", get_context=lambda: self)
        module("omni.physx", get_physx_interface=lambda: self, get_physx_simulation_interface=lambda: self)
        module("omni.physics.tensors", create_simulation_view=self.create_simulation_view)
        sys.modules["pxr"] = self._pxr
        self.calls.append("start")
        return self

    def update(self):
        self._loading -= 1

    # omni.usd's context
    def open_stage(self, path):
        assert Path(path).parent.is_dir()
        assert "/physics/suppressReadback" in self.settings
        self._is_open = True
        self.calls.append("open")
        return True

    def get_stage_loading_status(self):
        return "", 0, self._loading

    def get_stage_id(self):
        return 7 if self._is_open else 0

    def close_stage(self):
        self._is_open = False
        self.calls.append("close")

    # omni.physx
    def force_load_physics_from_usd(self):
        assert self._is_open
        assert self._loading <= 0, "the stage is still loading"
        paths = {call.args[1] for call in self._pxr.UsdGeom.Xform.Define.call_args_list}
        self.environments = sorted(path for path in paths if fnmatch.fnmatch(path, "/World/envs/env*"))
        places = [call.args for call in self._pxr.Gf.Vec3d.call_args_list]
        self.origins = torch.tensor([(0.0, 0.0, 0.0), *places])
        self.engine = FakeEngine(len(self.environments), is_fixed=self._is_fixed)

    def start_simulation(self):
        self._is_started = True

    def simulate(self, seconds, now):
        assert self._is_started
        assert not self._is_simulating, "results are fetched before the next step"
        self._is_simulating = True
        self.engine.step(seconds, 1)

    def fetch_results(self):
        self._is_simulating = False
        self.update_articulations_kinematic()

    def detach_stage(self):
        self._is_started = False

    # omni.physics.tensors
    def create_simulation_view(self, frontend, stage_id=-1):
        assert frontend == "torch"
        assert stage_id == 7
        return self

    def set_subspace_roots(self, pattern):
        assert pattern == "/"

    def create_articulation_view(self, pattern):
        assert pattern == "/World/envs/env*/scene/robot"
        return Articulations(self, len(self.environments) if self._articulations is None else self._articulations)

    def update_articulations_kinematic(self):
        self.links = torch.zeros(self.engine.num_envs, 3, 7)
        self.engine.read(Quantity.BODY_POSE, self.links)

    def invalidate(self):
        self.calls.append("invalidate")


class Articulations:
    """A view of one articulation in each environment."""

    def __init__(self, kit, count):
        self._kit, self._engine, self.count = kit, kit.engine, count
        self.shared_metatype = SimpleNamespace(
            dof_names=["slider", "hinge"], link_names=["rail", "cart", "pole"], fixed_base=kit.engine.is_fixed
        )

    def __getattr__(self, name):
        verb, _, what = name.partition("_")
        if what not in QUANTITIES or (verb, what) == ("set", "link_transforms"):
            raise AttributeError(name)
        return (lambda: self._get(what)) if verb == "get" else lambda data, indices: self._set(what, data, indices)

    def _get(self, what):
        values = torch.zeros(self.count, *WIDTHS.get(what, (2,)))
        self._engine.read(QUANTITIES[what], values)
        if what == "link_transforms":
            values = self._kit.links.clone()
        if "transforms" in what:
            values[..., :3] += self._kit.origins if what == "root_transforms" else self._kit.origins[:, None]
        return values

    def _set(self, what, data, indices):
        assert data.shape == (self.count, *WIDTHS.get(what, (2,)))
        assert (data.dtype, indices.dtype) == (torch.float32, torch.int32)
        data = data.clone()
        if what == "root_transforms":
            data[:, :3] -= self._kit.origins
        self._engine.write(QUANTITIES[what], data, indices)


def module(name, **attributes):
    """Put a module, and the packages that it is in, into sys.modules."""
    parent, _, last = name.rpartition(".")
    if parent and parent not in sys.modules:
        module(parent)
    made = sys.modules[name] = ModuleType(name)
    made.__spec__, made.__path__ = ModuleSpec(name, None, is_package=True), []
    vars(made).update(attributes)
    if parent:
        setattr(sys.modules[parent], last, made)
