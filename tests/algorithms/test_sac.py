"""SAC: losses and gradients against torchrl's, masks, the temperature, a whole step."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from gymnasium import spaces
from replay_task import BOX, DISCRETE, GAMMA, draw_noise, make, move_apart, only_gradients, random_batch, random_mask
from torch import nn
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution
from torchrl_parts import Critic, as_tensordict, assert_gradients, by_name, copy_critics, stacked

from rl2cli.algorithms.sac import METRICS, SAC, ContinuousPolicy, DiscretePolicy
from rl2cli.errors import UsageError

ROWS, TEMPERATURE = 64, 0.4
WEIGHT = torch.tensor(TEMPERATURE)


class _Given(TransformedDistribution):
    """A tanh-normal distribution whose sample is made with the noise that it is given."""

    def __init__(self, loc: torch.Tensor, scale: torch.Tensor, noise: torch.Tensor) -> None:
        self.tanh = TanhTransform(cache_size=1)
        self.value = loc + scale * noise
        super().__init__(Independent(Normal(loc, scale), 1), [self.tanh])

    def rsample(self, sample_shape: Any = ()) -> torch.Tensor:
        return self.tanh(self.value)


class _Actor(nn.Module):
    def __init__(self, policy: ContinuousPolicy) -> None:
        super().__init__()
        self.network, self.head = policy.network, policy.head

    def forward(self, observation: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mean, log_std = self.head(self.network(observation)).chunk(2, -1)
        return mean, log_std.clamp(-20.0, 2.0).exp(), noise.clone()


def _continuous_loss(sac: SAC) -> Any:
    from tensordict.nn import TensorDictModule
    from torchrl.modules import ProbabilisticActor, ValueOperator
    from torchrl.objectives import SACLoss

    assert isinstance(sac.policy, ContinuousPolicy)
    keys = ["loc", "scale", "noise"]
    module = TensorDictModule(_Actor(sac.policy), in_keys=["observation", "noise"], out_keys=keys)
    actor = ProbabilisticActor(module, in_keys=keys, distribution_class=_Given, return_log_prob=True)
    critic = ValueOperator(Critic(sac.critics), in_keys=["observation", "action"])
    return SACLoss(actor, critic, loss_function="l2", alpha_init=TEMPERATURE, target_entropy=-3.0)


def _discrete_loss(sac: SAC) -> Any:
    from tensordict.nn import TensorDictModule
    from torchrl.modules import ProbabilisticActor
    from torchrl.objectives import DiscreteSACLoss

    assert isinstance(sac.policy, DiscretePolicy)
    logits = nn.Sequential(sac.policy.network, sac.policy.head)
    module = TensorDictModule(logits, in_keys=["observation"], out_keys=["logits"])
    actor = ProbabilisticActor(module, in_keys=["logits"], distribution_class=torch.distributions.Categorical)
    critic = TensorDictModule(Critic(sac.critics), in_keys=["observation"], out_keys=["action_value"])
    settings: dict[str, Any] = {"loss_function": "l2", "alpha_init": TEMPERATURE}
    return DiscreteSACLoss(actor, critic, action_space="categorical", num_actions=4, **settings)


@pytest.mark.filterwarnings("ignore:No target network updater")
@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["continuous", "discrete"])
def test_losses_and_gradients_are_torchrls(monkeypatch: pytest.MonkeyPatch, space: spaces.Space[Any]) -> None:
    sac = make(SAC, space, entropy_coef_init=TEMPERATURE)
    move_apart(sac)
    batch, noise = random_batch(sac, ROWS), draw_noise(sac, ROWS)
    continuous = isinstance(sac.policy, ContinuousPolicy)
    loss = _continuous_loss(sac) if continuous else _discrete_loss(sac)
    loss.make_value_estimator(gamma=GAMMA)
    copy_critics(loss, sac.critics, sac.targets)
    with only_gradients(monkeypatch) as gradients:
        reported, _ = sac.step(batch, noise)
    ours = dict(zip(METRICS, reported, strict=True))
    if isinstance(sac.policy, ContinuousPolicy):
        also = {"own": {"noise": noise[1]}, "next": {"noise": noise[0]}}
        theirs = loss(as_tensordict(batch, sac.policy.actions.to_unit(batch.action), **also))
    else:
        theirs = loss(as_tensordict(batch, batch.action))

    torch.testing.assert_close(ours["loss/critic"], 0.5 * theirs["loss_qvalue"].detach())  # theirs has no 1/2
    torch.testing.assert_close(ours["loss/policy"], theirs["loss_actor"].detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours["loss/temperature"], torch.tensor(TEMPERATURE))
    parameters = by_name(loss.qvalue_network_params)
    expected = torch.autograd.grad(theirs["loss_qvalue"], list(parameters.values()))
    critic_gradients = stacked(sac.critics, gradients[sac.critic_optimizer])
    assert_gradients(critic_gradients, dict(zip(parameters, expected, strict=True)), factor=2.0)
    names = [name for name, _ in sac.policy.named_parameters()]
    expected = torch.autograd.grad(theirs["loss_actor"], list(sac.policy.parameters()))
    policy_gradients = zip(names, gradients[sac.policy_optimizer], strict=True)
    assert_gradients(dict(policy_gradients), dict(zip(names, expected, strict=True)))
    assert sac.temperature.optimizer is not None
    (expected_one,) = torch.autograd.grad(theirs["loss_alpha"], loss.log_alpha)
    torch.testing.assert_close(gradients[sac.temperature.optimizer][0], expected_one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["continuous", "discrete"])
def test_the_policy_learns_from_the_new_critics_and_targets_follow_them(space: spaces.Space[Any]) -> None:
    sac = make(SAC, space, entropy_coef_init=TEMPERATURE, tau=0.25)
    move_apart(sac)
    batch, noise = random_batch(sac, ROWS), draw_noise(sac, ROWS)
    for optimizer in sac.learner.optimizers:
        optimizer.learning_rate.fill_(1e-2)
    policy, targets = copy.deepcopy(sac.policy), copy.deepcopy(sac.targets)
    critics = copy.deepcopy(sac.critics)
    reported, _ = sac.step(batch, noise)
    loss, *_ = policy.loss(batch, sac.critics, WEIGHT, noise)
    torch.testing.assert_close(reported[METRICS.index("loss/policy")], loss.detach())
    assert all(not torch.equal(a, b) for a, b in zip(critics.parameters(), sac.critics.parameters(), strict=True))
    for old, source, new in zip(targets.parameters(), sac.critics.parameters(), sac.targets.parameters(), strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * source)
    assert sac.learner.optimizers == [sac.critic_optimizer, sac.policy_optimizer, sac.temperature.optimizer]


def test_errors_are_weighted_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    sac = make(SAC)
    batch, noise = random_batch(sac, ROWS), draw_noise(sac, ROWS)
    weight = torch.rand(ROWS, generator=torch.Generator().manual_seed(4)) + 0.5
    with only_gradients(monkeypatch):
        rows = [sac.step(batch.select(slice(row, row + 1)), [n[row : row + 1] for n in noise]) for row in range(ROWS)]
        reported, errors = sac.step(batch._replace(weight=weight), noise)
    losses = torch.stack([report[0] for report, _ in rows])
    torch.testing.assert_close(reported[0], (weight * losses).mean())
    torch.testing.assert_close(errors, torch.cat([error for _, error in rows]))
    assert errors.min() > 0.0


# --- masks ---


def _masked_sac(**options: Any) -> SAC:
    sac = make(SAC, DISCRETE, num_envs=ROWS, has_action_mask=True, **options)
    assert isinstance(sac.policy, DiscretePolicy)
    move_apart(sac)
    nn.init.normal_(sac.policy.head.weight, std=2.0, generator=torch.Generator().manual_seed(3))
    return sac


@pytest.mark.parametrize("learning_starts", [0, 10], ids=["learning", "warm-up"])
def test_forbidden_actions_are_not_taken(learning_starts: int) -> None:
    sac = _masked_sac(learning_starts=learning_starts)
    generator = torch.Generator().manual_seed(0)
    observation = torch.randn(ROWS, 4)
    for seed in range(20):
        mask = random_mask(ROWS, 4, seed)
        for action in (
            sac.act(observation, None, mask)["action"],
            sac.act(observation, generator, mask)["action"],
            sac.behave(observation, generator, mask)["action"],
        ):
            assert mask.gather(1, action.unsqueeze(1)).all()


def test_the_best_allowed_action_is_taken_and_sampling_is_from_the_policy() -> None:
    sac = _masked_sac()
    assert isinstance(sac.policy, DiscretePolicy)
    observation = torch.randn(1, 4, generator=torch.Generator().manual_seed(0)).expand(20_000, 4)
    mask = torch.tensor([[True, False, True, True]]).expand(20_000, 4)
    logits = sac.policy.head(sac.policy.network(observation[:1]))[0].detach()
    p = logits.masked_fill(~mask[0], -torch.inf).softmax(-1)
    action = sac.act(observation, torch.Generator().manual_seed(1), mask)["action"]
    torch.testing.assert_close(action.bincount(minlength=4) / 20_000, p, atol=0.02, rtol=0)
    assert (sac.act(observation, None, mask)["action"] == p.argmax()).all()


def test_forbidden_actions_count_in_no_expectation(monkeypatch: pytest.MonkeyPatch) -> None:
    sac = _masked_sac(entropy_coef_init=TEMPERATURE)
    assert isinstance(sac.policy, DiscretePolicy)
    batch = random_batch(sac, ROWS)
    assert batch.action_mask is not None
    assert batch.next_action_mask is not None
    values, next_values = sac.critics(batch.observation).detach(), sac.targets(batch.next_observation).detach()
    with only_gradients(monkeypatch):
        reported, errors = sac.step(batch, [])
    logits = sac.policy.head(sac.policy.network(batch.observation)).detach()
    next_logits = sac.policy.head(sac.policy.network(batch.next_observation)).detach()
    policy_losses, expected_errors, excess = [], [], []
    for row in range(ROWS):
        allowed, next_allowed = batch.action_mask[row], batch.next_action_mask[row]
        log_p = logits[row, allowed].log_softmax(-1)
        policy_losses.append((log_p.exp() * (TEMPERATURE * log_p - values[:, row, allowed].amin(0))).sum())
        excess.append(-(log_p.exp() * log_p).sum() - 0.98 * math.log(int(allowed.sum())))
        log_p = next_logits[row, next_allowed].log_softmax(-1)
        soft = (log_p.exp() * (next_values[:, row, next_allowed].amin(0) - TEMPERATURE * log_p)).sum()
        target = batch.reward[row] + batch.discount[row] * soft
        expected_errors.append((values[:, row, batch.action[row]] - target).abs().mean())
    torch.testing.assert_close(reported[METRICS.index("loss/policy")], torch.stack(policy_losses).mean())
    torch.testing.assert_close(errors, torch.stack(expected_errors))
    *_, found = sac.policy.loss(batch, sac.critics, WEIGHT, [])
    torch.testing.assert_close(found, torch.stack(excess), atol=1e-5, rtol=1e-5)


def test_one_allowed_action_leaves_no_entropy_to_want() -> None:
    sac = _masked_sac()
    batch = random_batch(sac, ROWS)
    only = torch.eye(4, dtype=torch.bool)[batch.action]
    *_, excess = sac.policy.loss(batch._replace(action_mask=only), sac.critics, WEIGHT, [])
    torch.testing.assert_close(excess, torch.zeros(ROWS))


# --- temperature ---


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["continuous", "discrete"])
@pytest.mark.parametrize(("target", "direction"), [(-50.0, -1), (50.0, 1)])
def test_the_temperature_falls_where_there_is_more_entropy_than_wanted(
    space: spaces.Space[Any], target: float, direction: int
) -> None:
    sac = make(SAC, space, target_entropy=target)
    assert sac.temperature.optimizer is not None
    sac.temperature.optimizer.learning_rate.fill_(1e-2)
    sac.step(random_batch(sac, ROWS), draw_noise(sac, ROWS))
    assert sac.temperature.log.item() == pytest.approx(direction * 1e-2, rel=1e-3)  # Adam's first step


def test_entropy_comes_to_its_target() -> None:
    sac = make(SAC, DISCRETE, target_entropy=1.0, learning_rate=1e-2)
    for optimizer in sac.learner.optimizers:
        optimizer.learning_rate.fill_(1e-2)
    for number in range(400):
        batch = random_batch(sac, ROWS, seed=number)
        sac.step(batch._replace(reward=2.0 * batch.action.float(), discount=0.0 * batch.discount), [])
    *_, excess = sac.policy.loss(batch, sac.critics, WEIGHT, [])
    assert excess.mean() == pytest.approx(0.0, abs=0.1)


def test_targets_of_entropy() -> None:
    def target(space: spaces.Space[Any], **options: Any) -> float:
        sac = make(SAC, space, **options)
        batch = random_batch(sac, ROWS)
        noise = draw_noise(sac, ROWS)
        _, entropy, excess = sac.policy.loss(batch, sac.critics, WEIGHT, noise)
        return (entropy - excess).mean().item()

    assert target(BOX) == pytest.approx(-3.0, abs=1e-5)
    assert target(BOX, target_entropy=-1.5) == pytest.approx(-1.5, abs=1e-5)
    assert target(DISCRETE) == pytest.approx(0.98 * math.log(4.0), abs=1e-5)
    assert target(DISCRETE, target_entropy=0.5) == pytest.approx(0.5, abs=1e-5)


def test_a_fixed_temperature_stays() -> None:
    sac = make(SAC, entropy_coef=0.2)
    for optimizer in sac.learner.optimizers:
        optimizer.learning_rate.fill_(1e-2)
    for number in range(3):
        reported, _ = sac.step(random_batch(sac, ROWS, seed=number), draw_noise(sac, ROWS))
        assert reported[METRICS.index("loss/temperature")] == pytest.approx(0.2)
    assert sac.temperature.optimizer is None


def test_the_kind_of_policy_is_that_of_the_space() -> None:
    assert isinstance(make(SAC, BOX).policy, ContinuousPolicy)
    assert isinstance(make(SAC, DISCRETE).policy, DiscretePolicy)
    with pytest.raises(UsageError, match="sac cannot act in MultiBinary"):
        make(SAC, spaces.MultiBinary(2))


def test_state_dependent_noise_is_learned() -> None:
    sac = make(SAC, exploration="state_dependent")
    assert isinstance(sac.policy, ContinuousPolicy)
    assert sac.policy.log_std is not None
    before = sac.policy.log_std.detach().clone()
    for optimizer in sac.learner.optimizers:
        optimizer.learning_rate.fill_(1e-2)
    sac.step(random_batch(sac, ROWS), draw_noise(sac, ROWS))
    assert (sac.policy.log_std != before).any(-1).float().mean() > 0.3  # features of a ReLU may all be 0
