"""TQC: its quantile loss by hand and by a loop, truncated targets, the policy's loss, a whole step."""

from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError
from replay_task import BOX, draw_noise, make, move_apart, only_gradients, random_batch
from torch import nn

from rl2cli.algorithms.tqc import METRICS, TQC, quantile_huber_loss
from rl2cli.algorithms.tqc_options import TQCOptions

ROWS, TEMPERATURE = 16, 0.4
SMALL = {"quantiles": 5, "dropped_quantiles": 2, "critics": 3, "entropy_coef_init": TEMPERATURE}


def _loop(quantiles: torch.Tensor, target: torch.Tensor) -> float:
    """Return the loss of one row, `quantiles` [Q] and `target` [K]."""
    total = 0.0
    for i, quantile in enumerate(quantiles.tolist()):
        level = (2 * i + 1) / (2 * len(quantiles))
        for aim in target.tolist():
            error = aim - quantile
            huber = 0.5 * error * error if abs(error) <= 1.0 else abs(error) - 0.5
            total += abs(level - (1.0 if error < 0.0 else 0.0)) * huber
    return total / (len(quantiles) * len(target))


def test_quantile_huber_loss_by_hand() -> None:
    # levels 1/4, 3/4; errors 0.5 - 0, 3 - 0, 0.5 - 1, 3 - 1: 1/4 * 1/8, 1/4 * 2.5, 1/4 * 1/8, 3/4 * 1.5
    loss = quantile_huber_loss(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 3.0]]))
    torch.testing.assert_close(loss, torch.tensor([(0.25 * 0.125 + 0.25 * 2.5 + 0.25 * 0.125 + 0.75 * 1.5) / 4]))


def test_quantile_huber_loss_is_that_of_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    quantiles = 2.0 * torch.randn(3, ROWS, 5, generator=generator)
    target = 2.0 * torch.randn(ROWS, 7, generator=generator)
    loss = quantile_huber_loss(quantiles, target)
    assert loss.shape == (3, ROWS)
    expected = [[_loop(quantiles[critic, row], target[row]) for row in range(ROWS)] for critic in range(3)]
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_its_minimum_are_the_quantiles() -> None:
    quantiles = nn.Parameter(torch.zeros(1, 4))
    target = 100.0 * torch.rand(1, 1000, generator=torch.Generator().manual_seed(0))  # Huber's 1 is little of it
    optimizer = torch.optim.SGD([quantiles], lr=100.0)
    for _ in range(200):
        optimizer.zero_grad()
        quantile_huber_loss(quantiles, target).sum().backward()
        optimizer.step()
    torch.testing.assert_close(quantiles.detach(), torch.tensor([[12.5, 37.5, 62.5, 87.5]]), atol=2.0, rtol=0)


def _expected_target(tqc: TQC, observation: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return V(s') of one row, [kept]: the critics' quantiles together without the highest, and the entropy."""
    action, log_prob = tqc.policy.sample(observation, noise)
    quantiles = sorted(tqc.targets(observation, action).flatten().tolist())
    return torch.tensor(quantiles[: -3 * 2]) - TEMPERATURE * log_prob.detach()


def test_losses_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    tqc = make(TQC, **SMALL)
    move_apart(tqc)
    batch, noise = random_batch(tqc, ROWS), draw_noise(tqc, ROWS)
    batch = batch._replace(weight=torch.rand(ROWS, generator=torch.Generator().manual_seed(4)) + 0.5)
    assert isinstance(batch.observation, torch.Tensor)
    assert isinstance(batch.next_observation, torch.Tensor)
    quantiles = tqc.critics(batch.observation, tqc.policy.actions.to_unit(batch.action)).detach()  # [critics, B, Q]
    losses, errors, policy_losses, entropies = [], [], [], []
    for row in range(ROWS):
        one = slice(row, row + 1)
        value = _expected_target(tqc, batch.next_observation[one], noise[0][one])
        target = batch.reward[row] + batch.discount[row] * value
        losses += [float(batch.weight[row]) * _loop(critic[row], target) for critic in quantiles]
        errors.append(torch.stack([(critic[row].mean() - target.mean()).abs() for critic in quantiles]).mean())
        action, log_prob = tqc.policy.sample(batch.observation[one], noise[1][one])
        policy_losses.append((TEMPERATURE * log_prob - tqc.critics(batch.observation[one], action).mean()).detach())
        entropies.append(-log_prob.detach())
    with only_gradients(monkeypatch) as gradients:
        reported, found = tqc.step(batch, noise)
    metrics = dict(zip(METRICS, reported, strict=True))
    torch.testing.assert_close(metrics["loss/critic"], torch.tensor(losses).mean())
    torch.testing.assert_close(metrics["loss/policy"], torch.cat(policy_losses).mean())
    torch.testing.assert_close(metrics["loss/entropy"], torch.cat(entropies).mean())
    torch.testing.assert_close(metrics["loss/temperature"], torch.tensor(TEMPERATURE))
    torch.testing.assert_close(metrics["loss/value"], quantiles.mean())
    torch.testing.assert_close(found, torch.stack(errors))
    assert tqc.temperature.optimizer is not None
    excess = torch.cat(entropies).mean() - (-3.0)
    torch.testing.assert_close(gradients[tqc.temperature.optimizer][0], excess)


def test_gradients_are_those_of_a_plain_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    tqc = make(TQC, **SMALL)
    move_apart(tqc)
    batch, noise = random_batch(tqc, ROWS), draw_noise(tqc, ROWS)
    assert isinstance(batch.next_observation, torch.Tensor)
    with torch.no_grad():
        values = [_expected_target(tqc, batch.next_observation[r : r + 1], noise[0][r : r + 1]) for r in range(ROWS)]
    target = batch.reward[:, None] + batch.discount[:, None] * torch.stack(values)
    quantiles = tqc.critics(batch.observation, tqc.policy.actions.to_unit(batch.action))
    critic_loss = quantile_huber_loss(quantiles, target).mean()
    action, log_prob = tqc.policy.sample(batch.observation, noise[1])
    policy_loss = (TEMPERATURE * log_prob - tqc.critics(batch.observation, action).mean((0, 2))).mean()
    expected = {
        tqc.critic_optimizer: torch.autograd.grad(critic_loss, list(tqc.critics.parameters())),
        tqc.policy_optimizer: torch.autograd.grad(policy_loss, list(tqc.policy.parameters())),
    }
    with only_gradients(monkeypatch) as gradients:
        tqc.step(batch, noise)
    for optimizer, theirs in expected.items():
        for ours, gradient in zip(gradients[optimizer], theirs, strict=True):
            assert gradient.abs().max() > 1e-5
            torch.testing.assert_close(ours, gradient, atol=1e-6, rtol=1e-4)


def test_the_policy_learns_from_the_new_critics_and_targets_follow_them() -> None:
    tqc = make(TQC, tau=0.25, **SMALL)
    move_apart(tqc)
    for optimizer in tqc.learner.optimizers:
        optimizer.learning_rate.fill_(1e-2)
    batch, noise = random_batch(tqc, ROWS), draw_noise(tqc, ROWS)
    policy, targets, critics = copy.deepcopy(tqc.policy), copy.deepcopy(tqc.targets), copy.deepcopy(tqc.critics)
    reported, _ = tqc.step(batch, noise)
    action, log_prob = policy.sample(batch.observation, noise[1])
    loss = (TEMPERATURE * log_prob - tqc.critics(batch.observation, action).mean((0, 2))).mean()
    torch.testing.assert_close(reported[METRICS.index("loss/policy")], loss.detach())
    assert all(not torch.equal(a, b) for a, b in zip(critics.parameters(), tqc.critics.parameters(), strict=True))
    assert all(not torch.equal(a, b) for a, b in zip(policy.parameters(), tqc.policy.parameters(), strict=True))
    for old, source, new in zip(targets.parameters(), tqc.critics.parameters(), tqc.targets.parameters(), strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * source)


def test_nothing_is_dropped_where_none_is_to_be() -> None:
    tqc = make(TQC, quantiles=4, dropped_quantiles=0, entropy_coef=1e-30)
    batch, noise = random_batch(tqc, ROWS), draw_noise(tqc, ROWS)
    action, _ = tqc.policy.sample(batch.next_observation, noise[0])
    following = tqc.targets(batch.next_observation, action).mean((0, 2))
    values = tqc.critics(batch.observation, tqc.policy.actions.to_unit(batch.action)).mean(-1)  # [critics, B]
    _, errors = tqc.step(batch, noise)
    expected = (values - (batch.reward + batch.discount * following)).abs().mean(0)
    torch.testing.assert_close(errors, expected.detach())


def test_its_options() -> None:
    with pytest.raises(ValidationError, match="dropped_quantiles must be less than quantiles = 3"):
        TQCOptions(quantiles=3, dropped_quantiles=3)
    assert make(TQC, BOX).target_entropy == -3.0
    assert make(TQC, BOX, target_entropy=-1.0).target_entropy == -1.0
