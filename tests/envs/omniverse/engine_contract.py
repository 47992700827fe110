"""What every engine has to do, as functions of one with N >= 4 cart-poles, or floating bodies where it says so."""

import torch

from rl2cli.envs.omniverse.engine import Quantity


def zeros(engine, *shape):
    return torch.zeros(engine.num_envs, *shape)


def read(engine, quantity, *shape):
    values = zeros(engine, *(shape or (len(engine.joint_names),)))
    engine.read(quantity, values)
    return values


def says_what_it_has(engine):
    assert engine.joint_names == ("slider", "hinge")
    assert engine.body_names[0] == "rail"
    assert set(engine.body_names) == {"rail", "cart", "pole"}
    assert engine.is_fixed


def reads_what_was_written(engine):
    joints = len(engine.joint_names)
    for quantity in (Quantity.JOINT_POSITION, Quantity.JOINT_VELOCITY):
        values = torch.arange(engine.num_envs * joints).reshape(-1, joints) / 100
        engine.write(quantity, values)
        assert torch.equal(read(engine, quantity), values)


def writes_single_rows(engine):
    engine.write(Quantity.JOINT_POSITION, zeros(engine, 2))
    engine.write(Quantity.JOINT_POSITION, zeros(engine, 2) + 0.5, torch.tensor([0, 3], dtype=torch.int32))
    changed = read(engine, Quantity.JOINT_POSITION)[:, 0].nonzero().flatten()
    assert changed.tolist() == [0, 3]


def keeps_an_effort(engine):
    """An effort acts until it is written again, and pushes the cart along +x."""
    at_rest(engine)
    effort = zeros(engine, 2)
    effort[:, 0] = 1.0
    engine.write(Quantity.JOINT_EFFORT, effort)
    engine.step(0.01, 1)
    first = read(engine, Quantity.JOINT_VELOCITY)[:, 0]
    engine.step(0.01, 1)
    second = read(engine, Quantity.JOINT_VELOCITY)[:, 0]
    engine.write(Quantity.JOINT_EFFORT, zeros(engine, 2))
    assert (first > 0).all()
    torch.testing.assert_close(second, 2 * first, rtol=0.02, atol=0)


def falls_like_a_pole(engine):
    """A pole to the right falls to the right: positive angles go on growing."""
    at_rest(engine)
    lean = zeros(engine, 2)
    lean[:, 1] = 0.1
    engine.write(Quantity.JOINT_POSITION, lean)
    engine.step(0.01, 20)
    assert (read(engine, Quantity.JOINT_POSITION)[:, 1] > 0.1).all()


def follows_a_position_target(engine):
    at_rest(engine)
    gains = zeros(engine, 2)
    gains[:, 0] = 100.0
    engine.write(Quantity.JOINT_STIFFNESS, gains)
    engine.write(Quantity.JOINT_DAMPING, gains / 4)
    target = zeros(engine, 2)
    target[:, 0] = 0.5
    engine.write(Quantity.JOINT_POSITION_TARGET, target)
    engine.step(0.01, 200)
    reached = read(engine, Quantity.JOINT_POSITION)[:, 0]
    for quantity in (Quantity.JOINT_STIFFNESS, Quantity.JOINT_DAMPING, Quantity.JOINT_POSITION_TARGET):
        engine.write(quantity, zeros(engine, 2))
    assert ((reached - 0.5).abs() < 0.1).all()


def follows_a_velocity_target(engine):
    at_rest(engine)
    gains = zeros(engine, 2)
    gains[:, 0] = 50.0
    engine.write(Quantity.JOINT_DAMPING, gains)
    engine.write(Quantity.JOINT_VELOCITY_TARGET, gains / 50)
    engine.step(0.01, 100)
    reached = read(engine, Quantity.JOINT_VELOCITY)[:, 0]
    for quantity in (Quantity.JOINT_DAMPING, Quantity.JOINT_VELOCITY_TARGET):
        engine.write(quantity, zeros(engine, 2))
    assert ((reached - 1.0).abs() < 0.1).all()


def moves_bodies_with_joints(engine):
    """Body poses follow what was written, before the next step, each in its environment's own frame."""
    at_rest(engine)
    cart = engine.body_names.index("cart")
    bodies = len(engine.body_names)
    before = read(engine, Quantity.BODY_POSE, bodies, 7)
    torch.testing.assert_close(before, before[:1].expand_as(before), atol=1e-5, rtol=0)
    moved = zeros(engine, 2)
    moved[:, 0] = 0.25
    engine.write(Quantity.JOINT_POSITION, moved)
    after = read(engine, Quantity.BODY_POSE, bodies, 7)
    torch.testing.assert_close(after[:, cart, 0] - before[:, cart, 0], moved[:, 0], atol=1e-5, rtol=0)


def repeats_itself(engine):
    """The same writes and steps give the same numbers, whatever was before."""
    assert torch.equal(thrown_about(engine), thrown_about(engine))


def leaves_other_rows_alone(engine):
    alone = thrown_about(engine)
    disturbed = thrown_about(engine, disturb=True)
    assert torch.equal(alone[1:], disturbed[1:])
    assert not torch.equal(alone[0], disturbed[0])


def thrown_about(engine, *, disturb=False):
    at_rest(engine)
    generator = torch.Generator().manual_seed(1)
    for index in range(30):
        if disturb and index == 10:
            engine.write(Quantity.JOINT_POSITION, zeros(engine, 2) + 0.3, torch.tensor([0], dtype=torch.int32))
        engine.write(Quantity.JOINT_EFFORT, torch.randn(engine.num_envs, 2, generator=generator))
        engine.step(0.01, 2)
    engine.write(Quantity.JOINT_EFFORT, zeros(engine, 2))
    return torch.cat([read(engine, Quantity.JOINT_POSITION), read(engine, Quantity.JOINT_VELOCITY)], 1)


def at_rest(engine):
    engine.write(Quantity.JOINT_POSITION, zeros(engine, 2))
    engine.write(Quantity.JOINT_VELOCITY, zeros(engine, 2))


CONTRACT = [
    says_what_it_has,
    reads_what_was_written,
    writes_single_rows,
    keeps_an_effort,
    falls_like_a_pole,
    follows_a_position_target,
    follows_a_velocity_target,
    moves_bodies_with_joints,
    repeats_itself,
    leaves_other_rows_alone,
]
