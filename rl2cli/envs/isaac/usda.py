"""USD assets as text, with the joints and bodies that Isaac Lab's tasks look for.

Written without USD's own library, which must not be imported before Isaac Sim's Kit has started.
"""

from __future__ import annotations

from typing import NamedTuple

_HEAD = """#usda 1.0
(
    defaultPrim = "{root}"
    metersPerUnit = 1
    upAxis = "Z"
)
"""

_BODY = """
    def Xform "{name}" (
        prepend apiSchemas = ["PhysicsRigidBodyAPI", "PhysicsMassAPI"]
    )
    {{
        point3f physics:centerOfMass = {center}
        float3 physics:diagonalInertia = {inertia}
        float physics:mass = {mass}
        quatf physics:principalAxes = (1, 0, 0, 0)
        double3 xformOp:translate = {place}
        uniform token[] xformOpOrder = ["xformOp:translate"]

        def Cube "visual"
        {{
            color3f[] primvars:displayColor = [{color}]
            double size = 1
            double3 xformOp:translate = {center}
            float3 xformOp:scale = {size}
            uniform token[] xformOpOrder = ["xformOp:translate", "xformOp:scale"]
        }}
    }}
"""

_JOINT = """
    def {kind} "{name}" (
        prepend apiSchemas = ["PhysicsDriveAPI:{drive}"]
    )
    {{
        float drive:{drive}:physics:damping = 0
        float drive:{drive}:physics:maxForce = 400
        float drive:{drive}:physics:stiffness = 0
        uniform token drive:{drive}:physics:type = "force"
        uniform token physics:axis = "{axis}"
        rel physics:body0 = </cartpole/{parent}>
        rel physics:body1 = </cartpole/{child}>
        {rest}
    }}
"""

Triple = tuple[float, float, float]


class _Box(NamedTuple):
    """A rigid body of 1 kg that looks like a box and touches nothing."""

    name: str
    size: Triple
    place: Triple
    center: Triple
    color: Triple

    def text(self) -> str:
        x, y, z = (edge * edge / 12.0 for edge in self.size)
        inertia = (y + z, x + z, x + y)
        return _BODY.format(**self._asdict(), inertia=inertia, mass=1)


def cartpole() -> str:
    """Return a cart on an 8 m rail with a pole of 1 m: joints `slider_to_cart` and `cart_to_pole`."""
    origin = (0.0, 0.0, 0.0)
    bodies = (
        _Box("slider", (0.03, 8.0, 0.03), origin, origin, (0.9, 0.6, 0.2)),
        _Box("cart", (0.2, 0.25, 0.2), origin, origin, (0.25, 0.5, 0.8)),
        _Box("pole", (0.04, 0.06, 1.0), (0.12, 0.0, 0.0), (0.0, 0.0, 0.47), (0.85, 0.2, 0.15)),
    )
    joints = (
        '\n    def PhysicsFixedJoint "rootJoint"\n    {\n        rel physics:body1 = </cartpole/slider>\n    }\n',
        _JOINT.format(
            kind="PhysicsPrismaticJoint", name="slider_to_cart", drive="linear", axis="Y", parent="slider",
            child="cart", rest="float physics:lowerLimit = -4\n        float physics:upperLimit = 4",
        ),
        _JOINT.format(
            kind="PhysicsRevoluteJoint", name="cart_to_pole", drive="angular", axis="X", parent="cart", child="pole",
            rest="point3f physics:localPos0 = (0.12, 0, 0)\n        point3f physics:localPos1 = (0, 0, 0)",
        ),
    )  # fmt: skip
    opening = '\ndef Xform "cartpole" (\n    prepend apiSchemas = ["PhysicsArticulationRootAPI"]\n)\n{'
    return "".join([_HEAD.format(root="cartpole"), opening, *(body.text() for body in bodies), *joints, "}\n"])


def ground(half: float = 50.0) -> str:
    """Return a plane at z = 0 that things stand on, drawn as a square of `2 * half` metres.

    Isaac Lab rescales `Environment` and the texture coordinates of `Geometry`, which it expects to be there.
    """
    corners = [(-half, -half, 0.0), (half, -half, 0.0), (half, half, 0.0), (-half, half, 0.0)]
    coordinates = [(x / 2, y / 2) for x, y, _ in corners]
    return (
        _HEAD.format(root="World")
        + f"""
def Xform "World"
{{
    def Plane "CollisionPlane" (
        prepend apiSchemas = ["PhysicsCollisionAPI"]
    )
    {{
        uniform token axis = "Z"
        uniform token purpose = "guide"
    }}

    def Xform "Environment"
    {{
        float3 xformOp:scale = (1, 1, 1)
        uniform token[] xformOpOrder = ["xformOp:scale"]

        def Mesh "Geometry"
        {{
            int[] faceVertexCounts = [4]
            int[] faceVertexIndices = [0, 1, 2, 3]
            point3f[] points = {corners}
            color3f[] primvars:displayColor = [(0.6, 0.6, 0.6)]
            texCoord2f[] primvars:st = {coordinates} (
                interpolation = "vertex"
            )
        }}
    }}
}}
"""
    )
