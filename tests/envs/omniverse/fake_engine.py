"""An engine without a simulator: a cart with a pole, or a box that floats, in a few lines of torch."""

import torch

from rl2cli.envs.omniverse.adapter import OmniverseAdapter
from rl2cli.envs.omniverse.engine import Engine, Quantity

TORSO_HEIGHT = 0.5


class FakeEngine(Engine):
    """Joints of mass 1 that fall like poles (hinge) or not (slider); the root keeps its velocity."""

    def __init__(self, num_envs, *, is_fixed=True):
        self.num_envs, self.device, self.is_fixed = num_envs, torch.device("cpu"), is_fixed
        self.joint_names, self.body_names = ("slider", "hinge"), ("rail", "cart", "pole")
        self._joints = {quantity: torch.zeros(num_envs, 2) for quantity in list(Quantity)[:7]}
        self._pose, self._twist = torch.zeros(num_envs, 7), torch.zeros(num_envs, 6)
        self._pose[:, 2], self._pose[:, 6] = TORSO_HEIGHT, 1.0
        self.is_open = True

    def read(self, quantity, into):
        if quantity in self._joints:
            into.copy_(self._joints[quantity])
        elif quantity == Quantity.BODY_POSE:
            into.copy_(self._bodies())
        else:
            into.copy_(self._pose if quantity == Quantity.ROOT_POSE else self._twist)

    def write(self, quantity, values, rows=None):
        target = self._joints.get(quantity, self._pose if quantity == Quantity.ROOT_POSE else self._twist)
        chosen = slice(None) if rows is None else rows.long()
        target[chosen] = values[chosen]

    def step(self, seconds, count):
        joints = self._joints
        position, velocity = joints[Quantity.JOINT_POSITION], joints[Quantity.JOINT_VELOCITY]
        for _ in range(count):
            drive = joints[Quantity.JOINT_STIFFNESS] * (joints[Quantity.JOINT_POSITION_TARGET] - position)
            drive += joints[Quantity.JOINT_DAMPING] * (joints[Quantity.JOINT_VELOCITY_TARGET] - velocity)
            velocity += seconds * (joints[Quantity.JOINT_EFFORT] + drive)
            velocity[:, 1] += seconds * 9.81 * position[:, 1].sin()
            position += seconds * velocity
            self._pose[:, :3] += seconds * self._twist[:, :3]

    def close(self):
        self.is_open = False

    def _bodies(self):
        bodies = self._pose[:, None].repeat(1, 3, 1)
        slide, angle = self._joints[Quantity.JOINT_POSITION].unbind(1)
        bodies[:, 1:, 0] += slide[:, None]
        bodies[:, 2, 4], bodies[:, 2, 6] = (angle / 2).sin(), (angle / 2).cos()  # about y
        return bodies


class FakeAdapter(OmniverseAdapter):
    """The adapter over the fake engine; a scene that is called "floating" has a root that can move."""

    def make_engine(self):
        return FakeEngine(self.num_envs, is_fixed=self.options.scene != "floating")
