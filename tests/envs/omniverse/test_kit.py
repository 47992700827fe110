"""Kit's engine over a fake of Kit, in processes of its own: in what order things are imported is part of it.

Nothing here runs Isaac Sim. The stage that is written for it is read with the real USD library, where there is one.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rl2cli.envs.omniverse import adapter, kit_app
from rl2cli.envs.omniverse.adapter import OmniverseAdapter
from rl2cli.envs.omniverse.engine import grid
from rl2cli.envs.omniverse.options import OmniverseOptions
from rl2cli.errors import EnvironmentFault, MissingDependencyError

HERE = Path(__file__).parent
BEGIN = """
import signal, sys
import torch
from fake_kit import Kit
from rl2cli.envs.omniverse.engine import Quantity
from rl2cli.envs.omniverse.stage import Scene

def engine_of(num_envs, **options):
    from rl2cli.envs.omniverse.kit import KitEngine
    scene = Scene("scene.usda", "/robot", "/robot", 9.81, 3)
    return KitEngine(scene, num_envs=num_envs, spacing=4.0, ground=True, friction=1.0, device=torch.device("cpu"))
"""
TASK = {
    "scene": "own_scene:author",
    "engine": "isaacsim",
    "actions": [{"joints": ["slider"]}],
    "observations": [{"term": "joint_position"}],
    "rewards": [{"term": "alive"}],
}


def run(script, *, licence="YES"):
    """Run what follows BEGIN in a process without Kit's modules; return its exit."""
    paths = os.pathsep.join([str(HERE), *sys.path])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN + script, "--set", "x"],
        env=os.environ | {"PYTHONPATH": paths, "OMNI_KIT_ACCEPT_EULA": licence},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_it_keeps_the_contract_of_engines():
    ended = run("""
from engine_contract import CONTRACT
kit = Kit()
kit.install()
engine = engine_of(5)
assert len(kit.environments) == 5
for rule in CONTRACT:
    rule(engine)
    print(rule.__name__)
engine.close()
engine.close()
assert kit.calls == ["start", "open", "invalidate", "close"], kit.calls
""")
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.split()) == 10


def test_the_app_starts_first_keeps_quiet_and_leaves_arguments_and_interrupts_alone():
    ended = run("""
kit = Kit()
kit.install()
held = signal.getsignal(signal.SIGINT)
engine_of(4).close()
assert sys.argv[1:] == ["--set", "x"]
assert signal.getsignal(signal.SIGINT) is held
assert kit.settings["/physics/suppressReadback"] is False
""")
    assert ended.returncode == 0, ended.stderr
    assert "kit application" not in ended.stdout + ended.stderr


def test_roots_are_in_the_frame_of_their_environment():
    ended = run("""
kit = Kit(is_fixed=False)
kit.install()
engine = engine_of(5)
assert kit.origins.tolist() == [[0, 0, 0], [4, 0, 0], [8, 0, 0], [0, 4, 0], [4, 4, 0]]
poses = torch.zeros(5, 7)
engine.read(Quantity.ROOT_POSE, poses)
assert poses[:, :3].tolist() == [[0, 0, 0.5]] * 5, poses
poses[:, 0] = 1.0
engine.write(Quantity.ROOT_POSE, poses, torch.tensor([2], dtype=torch.int32))
engine.read(Quantity.ROOT_POSE, poses)
assert poses[:, 0].tolist() == [0, 0, 1, 0, 0], poses
bodies = torch.zeros(5, 3, 7)
engine.read(Quantity.BODY_POSE, bodies)
assert bodies[:, 0, 0].tolist() == [0, 0, 1, 0, 0], bodies
""")
    assert ended.returncode == 0, ended.stderr


def test_one_stage_at_a_time_and_one_articulation_in_each_environment():
    ended = run("""
from rl2cli.errors import EnvironmentFault
kit = Kit()
kit.install()
engine = engine_of(2)
try:
    engine_of(2)
except EnvironmentFault as error:
    print(error)
engine.close()
kit._articulations = 1
try:
    engine_of(2)
except EnvironmentFault as error:
    print(error)
kit._articulations = None
engine_of(2).close()
""")
    assert ended.returncode == 0, ended.stderr
    first, second = ended.stdout.splitlines()
    assert "one stage in a process" in first
    assert "found 1 articulations in 2 environments" in second


def test_the_adapter_starts_kit_before_a_scene_is_written(tmp_path):
    ended = run(f"""
from pathlib import Path
from types import ModuleType
from rl2cli import trust
from rl2cli.envs.omniverse import stage
from rl2cli.envs.omniverse.adapter import OmniverseAdapter
from rl2cli.envs.omniverse.options import OmniverseOptions

kit = Kit()
kit.install()

def author():
    import pxr
    assert kit.calls == ["start"]
    return "scene.usda"

sys.modules["own_scene"] = ModuleType("own_scene")
sys.modules["own_scene"].author = author
trust._granted = {{"own_scene"}}
stage.read_scene = lambda file, pattern: Scene(file, "/robot", "/robot", 9.81, 3)
adapter = OmniverseAdapter(OmniverseOptions.model_validate({TASK!r}), num_envs=3)
adapter.setup()
assert "ovphysx" not in sys.modules
adapter.reset()
push = adapter.step(torch.ones(3, 1)).observation[:, 0]
assert (push > 0).all()
adapter.close()
""")
    assert ended.returncode == 0, ended.stderr


def test_kit_that_does_not_start_is_said():
    ended = run("""
from fake_kit import module
from rl2cli.errors import EnvironmentFault

def start(config):
    print("no GPU here")
    sys.exit(1)

module("isaacsim", SimulationApp=start)
try:
    engine_of(2)
except EnvironmentFault as error:
    print(error)
""")
    assert ended.returncode == 0, ended.stderr
    assert "did not start: it ended with status 1" in ended.stdout
    assert "no GPU here" in ended.stderr


def test_without_isaac_sim_it_says_where_to_get_it(monkeypatch):
    monkeypatch.setattr(kit_app, "has_isaac_sim", lambda: False)
    with pytest.raises(MissingDependencyError, match="needs Isaac Sim, which is not installed") as caught:
        OmniverseAdapter(OmniverseOptions.model_validate(TASK), num_envs=1).setup()
    assert 'engine = "ovphysx"' in caught.value.hint


def test_the_licence_is_for_the_user_to_accept(monkeypatch):
    monkeypatch.setattr(kit_app, "has_isaac_sim", lambda: True)
    monkeypatch.delenv("OMNI_KIT_ACCEPT_EULA", raising=False)
    with pytest.raises(MissingDependencyError, match="to be accepted by you") as caught:
        kit_app.start_kit()
    assert caught.value.exit_code == 7
    assert caught.value.hint == "read it, and if you accept it set OMNI_KIT_ACCEPT_EULA=YES"


def test_usd_that_was_imported_too_early_is_said(monkeypatch):
    monkeypatch.setattr(kit_app, "has_isaac_sim", lambda: True)
    monkeypatch.setenv("OMNI_KIT_ACCEPT_EULA", "YES")
    monkeypatch.setitem(sys.modules, "pxr", sys)
    with pytest.raises(EnvironmentFault, match="imported before Isaac Sim's Kit"):
        kit_app.start_kit()


@pytest.mark.parametrize(("installed", "engine"), [(True, "isaacsim"), (False, "ovphysx")])
def test_auto_is_kit_where_it_is_installed_and_says_which(monkeypatch, installed, engine):
    monkeypatch.setattr(adapter, "has_isaac_sim", lambda: installed)
    options, choices = OmniverseAdapter.settle(OmniverseOptions.model_validate(TASK | {"engine": "auto"}))
    assert options.engine == engine
    assert len(choices) == 1
    assert engine in choices[0]
    assert OmniverseAdapter.settle(options) == (options, [])


def test_the_copies_are_whole_environments_side_by_side(tmp_path):
    pytest.importorskip("pxr", reason="needs rl2cli[omniverse]")
    from pxr import Usd, UsdGeom, UsdPhysics

    from rl2cli.envs.omniverse.stage import find_file, read_scene, write_copies, write_wrapper

    file = tmp_path / "stage.usda"
    scene = read_scene(find_file("cartpole.usda"), None)
    write_wrapper(scene, file, ground=False, friction=1.0)
    write_copies(file, grid(3, 4.0, torch.device("cpu")).tolist(), on_gpu=False)
    stage = Usd.Stage.Open(str(file))
    places = UsdGeom.XformCache()
    for index, origin in enumerate([(0, 0, 0), (4, 0, 0), (0, 4, 0)]):
        root = f"/World/envs/env{index:06}"
        assert tuple(places.GetLocalToWorldTransform(stage.GetPrimAtPath(root)).ExtractTranslation()) == origin
        assert stage.GetPrimAtPath(f"{root}/scene{scene.articulation}").HasAPI(UsdPhysics.ArticulationRootAPI)
        joints = [prim for prim in Usd.PrimRange(stage.GetPrimAtPath(root)) if prim.IsA(UsdPhysics.Joint)]
        bodies = [str(path) for joint in joints for path in UsdPhysics.Joint(joint).GetBody1Rel().GetTargets()]
        assert len(bodies) >= 2
        assert all(path.startswith(f"{root}/scene") for path in bodies)
        moving = [prim for prim in joints if prim.IsA(UsdPhysics.PrismaticJoint) or prim.IsA(UsdPhysics.RevoluteJoint)]
        assert all(prim.HasAPI(UsdPhysics.DriveAPI) for prim in moving)
    physics = stage.GetPrimAtPath("/World/physics")
    assert physics.GetAttribute("physxScene:enableGPUDynamics").Get() is False
    assert "PhysxSceneAPI" in physics.GetPrimTypeInfo().GetAppliedAPISchemas()
