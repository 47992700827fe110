"""FlatAdam against torch.optim.Adam with clip_grad_norm_, and parameters that follow others."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from rl2cli.algorithms.adam import FlatAdam, FlatParameters

LEARNING_RATE, EPSILON = 3e-3, 1e-5


def _network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def _flat_adam(network: nn.Module, max_grad_norm: float) -> FlatAdam:
    optimizer = FlatAdam(network.parameters(), EPSILON, max_grad_norm)
    optimizer.learning_rate.fill_(LEARNING_RATE)
    return optimizer


def _loss(network: nn.Module, step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(16, 4, generator=generator)
    # every third step has a long gradient that is clipped, the others a short one that is not
    return (10.0 if step % 3 == 0 else 0.1) * network(inputs).square().mean()


@pytest.mark.parametrize("max_grad_norm", [0.0, 0.5])
def test_fifty_steps_are_torchs(max_grad_norm: float) -> None:
    ours, theirs = _network(), _network()
    flat = _flat_adam(ours, max_grad_norm)
    adam = torch.optim.Adam(theirs.parameters(), lr=LEARNING_RATE, eps=EPSILON)
    clipped = 0
    for step in range(50):
        norm = flat.step(_loss(ours, step))
        adam.zero_grad()
        _loss(theirs, step).backward()
        their_norm = nn.utils.clip_grad_norm_(theirs.parameters(), max_grad_norm or float("inf"))
        adam.step()
        clipped += bool(their_norm > 0.5)
        torch.testing.assert_close(norm, their_norm, atol=1e-5, rtol=1e-5)
    assert 10 < clipped < 40
    assert flat.step_count == 50
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-6)


def test_the_learning_rate_may_change_between_steps() -> None:
    ours, theirs = _network(), _network()
    flat = _flat_adam(ours, 0.0)
    adam = torch.optim.Adam(theirs.parameters(), lr=LEARNING_RATE, eps=EPSILON)
    for step in range(10):
        rate = LEARNING_RATE / (step + 1)
        flat.learning_rate.fill_(rate)
        adam.param_groups[0]["lr"] = rate
        flat.step(_loss(ours, step))
        adam.zero_grad()
        _loss(theirs, step).backward()
        adam.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("max_grad_norm", [0.0, 0.5])
def test_the_step_that_never_waits_for_the_device_is_the_same(max_grad_norm: float) -> None:
    one, other = _network(), _network()
    waiting, free = _flat_adam(one, max_grad_norm), _flat_adam(other, max_grad_norm)
    for step in range(20):
        waiting.step(_loss(one, step))
        gradients = torch.autograd.grad(_loss(other, step), list(other.parameters()))
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        with torch.no_grad():
            free._apply_without_sync(flat, flat.norm())  # what a GPU takes
    torch.testing.assert_close(waiting.flat, free.flat, atol=1e-6, rtol=1e-6)
    before = {key: value.clone() for key, value in free.state_dict().items()}
    weights = free.flat.clone()
    bad = torch.full_like(free.flat, float("nan"))
    free._apply_without_sync(bad, bad.norm())
    assert torch.equal(free.flat, weights)
    assert all(torch.equal(before[key], value) for key, value in free.state_dict().items())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("max_grad_norm", [0.0, 0.5])
def test_a_gradient_that_is_not_finite_changes_nothing(bad: float, max_grad_norm: float) -> None:
    network = _network()
    flat = _flat_adam(network, max_grad_norm)
    flat.step(_loss(network, 1))
    before = copy.deepcopy((network.state_dict(), flat.state_dict()))
    gradients = [torch.ones_like(parameter) for parameter in network.parameters()]
    gradients[1][0] = bad
    assert not flat.apply_gradient(gradients).isfinite()
    after = (network.state_dict(), flat.state_dict())
    for old, new in zip(before, after, strict=True):
        assert all(torch.equal(old[key], new[key]) for key in old)
    flat.step(_loss(network, 2))
    assert not torch.equal(before[0]["0.weight"], network.state_dict()["0.weight"])


def test_the_state_goes_on_where_it_was_saved() -> None:
    whole, first = _network(), _network()
    flat_whole, flat_first = _flat_adam(whole, 0.5), _flat_adam(first, 0.5)
    for step in range(5):
        flat_whole.step(_loss(whole, step))
        flat_first.step(_loss(first, step))
    second = _network(seed=1)
    flat_second = _flat_adam(second, 0.5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    flat_second.load_state_dict(copy.deepcopy(flat_first.state_dict()))
    for step in range(5, 10):
        flat_whole.step(_loss(whole, step))
        flat_second.step(_loss(second, step))
    for one, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_parameters_are_views_of_one_vector() -> None:
    network = _network()
    values = [parameter.detach().clone() for parameter in network.parameters()]
    flat = _flat_adam(network, 0.0)
    assert flat.flat.numel() == sum(parameter.numel() for parameter in network.parameters())
    storage = flat.flat.untyped_storage().data_ptr()
    for parameter, value in zip(network.parameters(), values, strict=True):
        assert parameter.untyped_storage().data_ptr() == storage
        assert torch.equal(parameter, value)
    network.load_state_dict(_network(seed=3).state_dict())
    assert torch.equal(flat.flat, torch.cat([p.detach().flatten() for p in network.parameters()]))


def test_a_parameter_outside_the_loss_stays() -> None:
    network = _network()
    unused = nn.Parameter(torch.ones(3))
    flat = FlatAdam([*network.parameters(), unused], EPSILON, 0.5)
    flat.learning_rate.fill_(LEARNING_RATE)
    flat.step(_loss(network, 0))
    assert torch.equal(unused.detach(), torch.ones(3))


def test_parameters_are_no_part_of_its_state() -> None:
    assert set(_flat_adam(_network(), 0.0).state_dict()) == {
        "first_moment",
        "learning_rate",
        "second_moment",
        "step_count",
    }


def test_a_target_follows_by_a_part_of_the_way() -> None:
    network, target = _network(), _network(seed=1)
    expected = [0.9 * there + 0.1 * here for here, there in zip(network.parameters(), target.parameters(), strict=True)]
    optimizer, follower = _flat_adam(network, 0.0), FlatParameters(target.requires_grad_(False).parameters())
    follower.follow(optimizer, 0.1)
    for parameter, value in zip(target.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter, value)
        assert not parameter.requires_grad
    assert torch.equal(optimizer.flat, torch.cat([p.detach().flatten() for p in _network().parameters()]))


def test_following_all_the_way_is_a_copy() -> None:
    network, target = _network(), _network(seed=1)
    optimizer, follower = _flat_adam(network, 0.0), FlatParameters(target.parameters())
    follower.follow(optimizer, 1.0)
    assert torch.equal(follower.flat, optimizer.flat)
    optimizer.step(_loss(network, 0))
    assert not torch.equal(follower.flat, optimizer.flat)


def test_following_after_loading_a_state_changes_the_loaded_network() -> None:
    network, target = _network(), _network(seed=1)
    optimizer, follower = _flat_adam(network, 0.0), FlatParameters(target.parameters())
    target.load_state_dict(_network(seed=2).state_dict())
    assert follower.state_dict() == {}
    follower.follow(optimizer, 1.0)
    assert torch.equal(target[0].weight, network[0].weight)


def test_an_actors_step_through_a_critic_leaves_the_critic_as_it_is() -> None:
    actor, critic = _network(), nn.Linear(2, 1)
    of_actor, of_critic = _flat_adam(actor, 0.0), _flat_adam(critic, 0.0)
    before = of_critic.flat.clone(), of_actor.flat.clone()
    of_actor.step(-critic(actor(torch.ones(3, 4))).mean())
    assert torch.equal(of_critic.flat, before[0])
    assert not torch.equal(of_actor.flat, before[1])
    assert all(parameter.grad is None for parameter in critic.parameters())
