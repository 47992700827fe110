"""Both engines do what the seam says: the fake one of the fast tests, and PhysX where it is installed."""

import pytest
import torch
from engine_contract import CONTRACT
from fake_engine import FakeEngine

from rl2cli.envs.omniverse.engine import Quantity


@pytest.mark.parametrize("rule", CONTRACT, ids=lambda rule: rule.__name__)
def test_the_fake_engine(rule):
    rule(FakeEngine(5))


@pytest.mark.slow
def test_physx():
    engine = physx("cartpole.usda", 5)
    try:
        for rule in CONTRACT:
            rule(engine)
    finally:
        engine.close()


@pytest.mark.slow
def test_physx_reads_the_copies_that_kit_would_be_given():
    pytest.importorskip("ovphysx", reason="needs rl2cli[omniverse]")
    from rl2cli.envs.omniverse import physx as module
    from rl2cli.envs.omniverse.stage import find_file, read_scene, write_copies

    class Copied(module.PhysXEngine):
        """PhysX as a library, with copies in the stage in place of its own clones."""

        def _start(self, wrapper):
            write_copies(wrapper, self._origins.tolist(), on_gpu=False)
            count, self.num_envs = self.num_envs, 1
            super()._start(wrapper)
            self.num_envs = count

    scene, cpu = read_scene(find_file("cartpole.usda"), None), torch.device("cpu")
    engine = Copied(scene, num_envs=5, spacing=4.0, ground=True, friction=1.0, device=cpu)
    try:
        for rule in CONTRACT:
            rule(engine)
    finally:
        engine.close()


@pytest.mark.slow
def test_physx_moves_a_cart_and_pole_as_the_differential_equation_does():
    engine = physx("cartpole.usda", 4)
    try:
        start = torch.tensor([[0.0, 0.1]]).repeat(4, 1)
        engine.write(Quantity.JOINT_POSITION, start)
        engine.write(Quantity.JOINT_VELOCITY, torch.zeros(4, 2))
        engine.step(1 / 240, 120)
        position, velocity = torch.zeros(4, 2), torch.zeros(4, 2)
        engine.read(Quantity.JOINT_POSITION, position)
        engine.read(Quantity.JOINT_VELOCITY, velocity)
    finally:
        engine.close()
    wanted = fallen_for(0.1, 0.5)
    assert torch.cat([position, velocity], 1)[0].tolist() == pytest.approx(wanted, rel=0.03, abs=2e-3)


def physx(scene, num_envs, *, ground=False):
    pytest.importorskip("ovphysx", reason="needs rl2cli[omniverse]")
    from rl2cli.envs.omniverse.physx import PhysXEngine
    from rl2cli.envs.omniverse.stage import find_file, read_scene

    found = read_scene(find_file(scene), None)
    cpu = torch.device("cpu")
    return PhysXEngine(found, num_envs=num_envs, spacing=4.0, ground=ground, friction=1.0, device=cpu)


def fallen_for(angle, seconds, cart=1.0, pole=0.2, half=0.5, gravity=9.81, step=1e-4):
    """Return cart position, angle and their rates: Lagrange's equations without friction, by Euler-Cromer."""
    inertia = pole * (2 * half) ** 2 / 12 + pole * half**2
    position, turn, speed, rate = 0.0, angle, 0.0, 0.0
    for _ in range(round(seconds / step)):
        sine, cosine = torch.tensor(turn).sin().item(), torch.tensor(turn).cos().item()
        a, b, c = cart + pole, pole * half * cosine, inertia
        push, pull = pole * half * rate**2 * sine, pole * gravity * half * sine
        determinant = a * c - b * b
        speed += step * (push * c - b * pull) / determinant
        rate += step * (a * pull - b * push) / determinant
        position, turn = position + step * speed, turn + step * rate
    return [position, turn, speed, rate]
