"""A user's USD scene as the stage that is cloned: found, read, checked and wrapped."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl2cli.errors import UsageError, suggestion

SHIPPED = Path(__file__).with_name("scenes")
"""Scenes that come with rl2."""
ENVIRONMENTS = "/World/envs"
FIRST = f"{ENVIRONMENTS}/env000000"
SCENE = "scene"
"""Name under which each environment has the scene's default prim."""


@dataclass(frozen=True)
class Scene:
    """What a USD scene has in it."""

    file: Path
    root: str
    """Path of its default prim."""
    articulation: str
    """Path of the articulation below `root`, such as `/robot`; empty where it is the root itself."""
    gravity: float
    """m/s²."""
    bodies: int
    """Rigid bodies of one copy."""


def find_file(name: str) -> Path:
    """Return the scene file `name`: as the path that it is, else one that comes with rl2.

    Raises:
        UsageError: There is no such file.
    """
    given, shipped = Path(name).expanduser(), SHIPPED / name
    if given.is_file():
        return given.resolve()
    if shipped.parent == SHIPPED and shipped.is_file():
        return shipped
    known = sorted(each.name for each in SHIPPED.glob("*.usda"))
    near = suggestion(name, known) or f"with rl2 come {', '.join(known)}"
    raise UsageError(f"the scene {name!r} is not there", hint=near, place="env.scene")


def read_scene(file: Path, pattern: str | None) -> Scene:
    """Return what `file` has in it, with the one articulation whose path fits `pattern`.

    Raises:
        UsageError: It is no USD file, or has no such articulation; the message lists what it has.
    """
    stage = open_stage(file)
    root = _root_prim(stage, file)
    from pxr import Usd, UsdPhysics

    prims = list(Usd.PrimRange(root))
    found = [str(prim.GetPath()) for prim in prims if prim.HasAPI(UsdPhysics.ArticulationRootAPI)]
    chosen = found if pattern is None else [path for path in found if _fits(path, pattern)]
    if len(chosen) != 1:
        raise _no_articulation(file, pattern, found, chosen)
    bodies = sum(prim.HasAPI(UsdPhysics.RigidBodyAPI) for prim in prims)
    path = str(root.GetPath())
    return Scene(file, path, chosen[0].removeprefix(path), _gravity(stage), bodies)


def open_stage(file: Path) -> Any:
    """Return the pxr stage of a file.

    Raises:
        UsageError: It cannot be read as USD.
    """
    from pxr import Tf, Usd

    from rl2cli.envs.omniverse.quiet import quiet

    try:
        with quiet():
            return Usd.Stage.Open(str(file))
    except Tf.ErrorException as error:
        raise UsageError(
            f"{file} cannot be read as a USD file: {_first_line(error)}",
            hint="is it a whole .usd, .usda, .usdc or .usdz file?",
            place="env.scene",
        ) from error


def write_wrapper(scene: Scene, target: Path, *, ground: bool, friction: float) -> None:
    """Write a stage with gravity, maybe a ground, and the scene as its first environment."""
    from pxr import Gf, Usd, UsdGeom, UsdPhysics

    stage = Usd.Stage.CreateNew(str(target))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
    physics = UsdPhysics.Scene.Define(stage, "/World/physics")
    physics.CreateGravityDirectionAttr(Gf.Vec3f(0, 0, -1))
    physics.CreateGravityMagnitudeAttr(scene.gravity)
    UsdGeom.Xform.Define(stage, ENVIRONMENTS)
    UsdGeom.Xform.Define(stage, FIRST)
    inner = stage.DefinePrim(f"{FIRST}/{SCENE}")
    inner.GetReferences().AddReference(str(scene.file), scene.root)
    for prim in Usd.PrimRange(inner):
        if prim.IsA(UsdPhysics.Scene):
            prim.SetActive(False)
        _add_drive(prim)
    if ground:
        _add_ground(stage, friction)
    stage.GetRootLayer().Save()


def write_copies(stage_file: Path, origins: Sequence[Sequence[float]], *, on_gpu: bool) -> None:
    """Add all environments but the first to a wrapper, as references to the first, and what PhysX steps them on.

    Args:
        stage_file: What `write_wrapper` wrote.
        origins: Where the N environments stand, in metres.
        on_gpu: Whether PhysX steps them on a GPU.
    """
    from pxr import Gf, Sdf, Usd, UsdGeom

    stage = Usd.Stage.Open(str(stage_file))
    for index, place in enumerate(origins[1:], 1):
        copy = UsdGeom.Xform.Define(stage, f"{ENVIRONMENTS}/env{index:06}")
        copy.GetPrim().GetReferences().AddInternalReference(FIRST)
        copy.AddTranslateOp().Set(Gf.Vec3d(*place))
    physics = stage.GetPrimAtPath("/World/physics")
    physics.AddAppliedSchema("PhysxSceneAPI")
    kinds = Sdf.ValueTypeNames
    physics.CreateAttribute("physxScene:enableGPUDynamics", kinds.Bool).Set(on_gpu)
    physics.CreateAttribute("physxScene:broadphaseType", kinds.Token).Set("GPU" if on_gpu else "MBP")
    stage.Save()


def _add_drive(prim: Any) -> None:
    """Give a joint a drive that does nothing where it has none: without one PhysX takes no gains and targets later."""
    from pxr import UsdPhysics

    for kind, name in ((UsdPhysics.RevoluteJoint, "angular"), (UsdPhysics.PrismaticJoint, "linear")):
        if prim.IsA(kind) and not prim.HasAPI(UsdPhysics.DriveAPI, name):
            drive = UsdPhysics.DriveAPI.Apply(prim, name)
            drive.CreateTypeAttr("force")
            drive.CreateStiffnessAttr(0.0)
            drive.CreateDampingAttr(0.0)


def _add_ground(stage: Any, friction: float) -> None:
    from pxr import UsdGeom, UsdPhysics, UsdShade

    plane = UsdGeom.Plane.Define(stage, "/World/ground")
    plane.CreateAxisAttr("Z")
    UsdPhysics.CollisionAPI.Apply(plane.GetPrim())
    material = UsdShade.Material.Define(stage, "/World/ground_material")
    surface = UsdPhysics.MaterialAPI.Apply(material.GetPrim())
    surface.CreateStaticFrictionAttr(friction)
    surface.CreateDynamicFrictionAttr(friction)
    surface.CreateRestitutionAttr(0.0)
    UsdShade.MaterialBindingAPI.Apply(plane.GetPrim()).Bind(material, UsdShade.Tokens.weakerThanDescendants, "physics")


def _root_prim(stage: Any, file: Path) -> Any:
    root = stage.GetDefaultPrim()
    if root:
        return root
    tops = [prim for prim in stage.GetPseudoRoot().GetChildren() if prim.GetTypeName() != "PhysicsScene"]
    if len(tops) == 1:
        return tops[0]
    listed = ", ".join(prim.GetName() for prim in tops) or "nothing"
    raise UsageError(
        f"{file} has no default prim; at its top are: {listed}",
        hint='write defaultPrim = "NAME" in the parentheses at the file\'s beginning, for what an environment holds',
        place="env.scene",
    )


def _gravity(stage: Any) -> float:
    from pxr import UsdPhysics

    for prim in stage.Traverse():
        if prim.IsA(UsdPhysics.Scene):
            magnitude = float(UsdPhysics.Scene(prim).GetGravityMagnitudeAttr().Get())
            if 0.0 <= magnitude < 1e6:  # not the schema's "as on Earth", which is minus infinity
                return magnitude
    return 9.81


def _fits(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path.rpartition("/")[2], pattern)


def _no_articulation(file: Path, pattern: str | None, found: list[str], chosen: list[str]) -> UsageError:
    if not found:
        return UsageError(
            f"{file} has no articulation",
            hint="give a prim the API schema PhysicsArticulationRootAPI",
            place="env.scene",
        )
    which = "several articulations" if pattern is None else f"{len(chosen) or 'no'} articulations that fit {pattern!r}"
    return UsageError(
        f"{file} has {which}; it has {', '.join(found)}",
        hint="articulation under [env] chooses one",
        place="env.articulation",
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
