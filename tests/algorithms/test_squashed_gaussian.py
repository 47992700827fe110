"""The tanh-Gaussian policy against torch's own distributions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from replay_task import BOX, UNIT, make
from torch import nn
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from rl2cli.algorithms.sac import SAC
from rl2cli.algorithms.squashed_gaussian import SquashedGaussian

ROWS = 512
OBSERVATION = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(1))


def _policy(exploration: str = "white", **options: Any) -> SquashedGaussian:
    policy = make(SAC, options.pop("action_space", UNIT), num_envs=ROWS, exploration=exploration, **options).policy
    assert isinstance(policy, SquashedGaussian)
    return policy


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize(
    ("middle", "log_std"), [(0.0, -0.5), (0.5, -3.0), (4.0, 0.3), (-7.0, 1.0), (0.0, 2.0), (30.0, -20.0)]
)
def test_log_prob_is_that_of_a_transformed_normal(
    monkeypatch: pytest.MonkeyPatch, middle: float, log_std: float
) -> None:
    policy = _policy()
    mean, logs = middle + NOISE.flip(0), torch.full_like(NOISE, log_std)
    monkeypatch.setattr(policy, "_distribution", lambda features: (mean, logs))
    action, log_prob = policy.sample(OBSERVATION, NOISE)

    tanh = TanhTransform(cache_size=1)  # it remembers what the action was before
    exact = Independent(Normal(mean.double(), logs.double().exp()), 1)
    expected = tanh(mean.double() + logs.double().exp() * NOISE.double())
    torch.testing.assert_close(action, expected.float())
    theirs = TransformedDistribution(exact, [tanh]).log_prob(expected).float()
    torch.testing.assert_close(log_prob, theirs, atol=1e-5, rtol=1e-5)


def test_sampled_actions_have_the_density_that_is_said_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = _policy()
    rows = 200_000
    mean, logs = torch.full((rows, 1), 0.7), torch.full((rows, 1), -0.3)
    monkeypatch.setattr(policy, "_distribution", lambda features: (mean, logs))
    noise = torch.randn(rows, 1, generator=_generator())
    action, log_prob = policy.sample(torch.zeros(rows, 4), noise)
    inside = (action[:, 0] > 0.6) & (action[:, 0] < 0.61)
    assert log_prob[inside].exp().mean() * 0.01 == pytest.approx(inside.float().mean().item(), rel=0.05)


@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4])
@pytest.mark.parametrize("exploration", ["white", "state_dependent"])
def test_gradients_are_finite_wherever_the_network_goes(scale: float, exploration: str) -> None:
    policy = _policy(exploration)
    nn.init.normal_(policy.head.weight, std=scale, generator=_generator())
    action, log_prob = policy.sample(OBSERVATION, NOISE)
    assert action.abs().max() <= 1.0
    assert log_prob.isfinite().all()
    gradients = torch.autograd.grad(log_prob.mean() + action.sum(), list(policy.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_saturated_actions_still_pull_back() -> None:
    policy = _policy()
    nn.init.zeros_(policy.head.weight)
    nn.init.constant_(policy.head.bias[:3].detach(), 9.0)
    _, log_prob = policy.sample(OBSERVATION, torch.zeros(ROWS, 3))
    (gradient,) = torch.autograd.grad(log_prob.mean(), policy.head.bias)
    torch.testing.assert_close(gradient[:3], torch.full((3,), 2.0), atol=1e-4, rtol=0)  # -d/dx log(1 - tanh²) = 2 tanh


def test_deviations_are_kept_within_limits() -> None:
    policy = _policy()
    nn.init.zeros_(policy.head.weight)
    for bias, expected in ((9.0, 2.0), (-90.0, -20.0), (-1.0, -1.0)):
        nn.init.constant_(policy.head.bias.detach(), bias)
        _, log_std = policy._distribution(policy.network(OBSERVATION))
        assert (log_std == expected).all()


def test_acting_is_in_the_bounds_of_the_space_and_random_only_where_asked() -> None:
    policy = _policy(action_space=BOX)
    mean, random, again = (policy.act(OBSERVATION, explore, None) for explore in (None, _generator(), _generator()))
    middle, log_std = policy._distribution(policy.network(OBSERVATION))
    torch.testing.assert_close(mean, policy.actions.to_env(middle.tanh()))
    noise = torch.empty(ROWS, 3).normal_(generator=_generator())
    torch.testing.assert_close(random, policy.actions.to_env((middle + log_std.exp() * noise).tanh()))
    assert torch.equal(random, again)
    assert torch.equal(policy.behave(OBSERVATION, _generator(), None), random)  # white noise
    low, high = torch.from_numpy(BOX.low), torch.from_numpy(BOX.high)
    assert ((random >= low) & (random <= high)).all()
    assert ((policy.random(ROWS, _generator(), None) - low) / (high - low)).std(0).tolist() == pytest.approx(
        [12**-0.5] * 3, rel=0.05
    )


def test_coloured_noise_takes_the_place_of_white() -> None:
    policy = _policy("coloured", noise_steps=8, noise_exponent=2.0)
    generator = _generator()
    middle, log_std = (tensor.detach() for tensor in policy._distribution(policy.network(OBSERVATION)))
    found = torch.stack([(policy.explore(OBSERVATION, generator).detach().atanh() - middle) for _ in range(8)])
    noise = found / log_std.exp()
    assert noise.square().mean() == pytest.approx(1.0, abs=0.1)
    assert noise.diff(dim=0).square().mean() < 1.0  # 2 if it were white


def test_state_dependent_noise_is_what_the_log_probabilities_say() -> None:
    policy = _policy("state_dependent", noise_steps=1, log_std_init=-1.0)
    state = OBSERVATION[:1].expand(ROWS, 4)
    generator = _generator()
    mean, log_std = (tensor[0].detach() for tensor in policy._distribution(policy.network(state)))
    samples = torch.cat([policy.explore(state, generator).detach().atanh() - mean for _ in range(20)])
    torch.testing.assert_close(samples.std(0), log_std.exp(), atol=0, rtol=0.05)
    features = policy.network(state)[0].detach()
    assert policy.log_std is not None
    expected = 0.5 * torch.log(features.square() @ policy.log_std.exp().square() + 1e-6)
    torch.testing.assert_close(log_std, expected.detach())


def test_means_of_state_dependent_noise_keep_a_slope() -> None:
    policy = _policy("state_dependent")
    nn.init.constant_(policy.head.bias.detach(), 50.0)
    torch.testing.assert_close(policy.mean(OBSERVATION), torch.full((ROWS, 3), 2.0).tanh())
