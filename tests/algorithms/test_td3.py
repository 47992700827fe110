"""TD3: losses and gradients against torchrl's, the delayed policy, noise in training and in targets."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from replay_task import BOX, GAMMA, UNIT, draw_noise, make, move_apart, only_gradients, random_batch
from torch import nn
from torchrl_parts import Critic, as_tensordict, assert_gradients, by_name, copy_critics, stacked

from rl2cli.algorithms.adam import FlatAdam
from rl2cli.algorithms.td3 import METRICS, TD3

ROWS, SEED = 64, 11


def _torchrls_noise() -> list[torch.Tensor]:
    """Return what torchrl's loss draws once the seed is set."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return [torch.randn(ROWS, 3)]


def _loss(td3: TD3, **settings: Any) -> Any:
    from tensordict.nn import TensorDictModule
    from torchrl.modules import ValueOperator
    from torchrl.objectives import TD3Loss

    actor = TensorDictModule(td3.policy, in_keys=["observation"], out_keys=["action"])
    critic = ValueOperator(Critic(td3.critics), in_keys=["observation", "action"])
    return TD3Loss(actor, critic, bounds=(-1.0, 1.0), loss_function="l2", **settings)


@pytest.mark.filterwarnings("ignore:No target network updater")
@pytest.mark.parametrize(("target_noise", "clip"), [(0.2, 0.5), (1.0, 0.3)])
def test_losses_and_gradients_are_torchrls(monkeypatch: pytest.MonkeyPatch, target_noise: float, clip: float) -> None:
    noises = {"target_noise": target_noise, "target_noise_clip": clip}
    td3 = make(TD3, batch_size=ROWS, policy_delay=1, **noises)
    nn.init.normal_(td3.policy.head.weight, generator=torch.Generator().manual_seed(1))  # actions near the bounds
    move_apart(td3)
    batch = random_batch(td3, ROWS)
    loss = _loss(td3, policy_noise=target_noise, noise_clip=clip)
    loss.make_value_estimator(gamma=GAMMA)
    copy_critics(loss, td3.critics, td3.target_critics)
    for theirs, ours in zip(
        loss.target_actor_network_params.values(True, True), td3.target_policy.parameters(), strict=True
    ):
        theirs.data.copy_(ours)
    with only_gradients(monkeypatch) as gradients:
        reported, errors = td3.step(batch, _torchrls_noise())
    metrics = dict(zip(METRICS, reported, strict=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        theirs = loss(as_tensordict(batch, td3.actions.to_unit(batch.action)))

    torch.testing.assert_close(metrics["loss/critic"], theirs["loss_qvalue"].detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(metrics["loss/policy"], theirs["loss_actor"].detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(metrics["loss/value"], theirs["pred_value"].mean())
    torch.testing.assert_close(errors, (theirs["pred_value"] - theirs["target_value"]).abs().mean(0))
    parameters = by_name(loss.qvalue_network_params)
    expected = torch.autograd.grad(theirs["loss_qvalue"], list(parameters.values()))
    ours_by_name = stacked(td3.critics, gradients[td3.critic_optimizer])
    assert_gradients(ours_by_name, dict(zip(parameters, expected, strict=True)))
    names = [name for name, _ in td3.policy.named_parameters()]
    expected = torch.autograd.grad(theirs["loss_actor"], list(td3.policy.parameters()))
    policy_gradients = zip(names, gradients[td3.policy_optimizer], strict=True)
    assert_gradients(dict(policy_gradients), dict(zip(names, expected, strict=True)))


def _set_rates(td3: TD3, rate: float = 1e-2) -> None:
    for optimizer in td3.learner.optimizers:
        optimizer.learning_rate.fill_(rate)


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_critics_learn_from_each_part_and_the_policy_once_from_the_last(delay: int) -> None:
    td3 = make(TD3, policy_delay=delay, tau=0.25, batch_size=ROWS)
    move_apart(td3)
    _set_rates(td3)
    batch, noise = random_batch(td3, delay * ROWS), draw_noise(td3, delay * ROWS)[0]
    weight = torch.rand(delay * ROWS, generator=torch.Generator().manual_seed(4)) + 0.5
    batch = batch._replace(weight=weight)
    again = make(TD3, policy_delay=delay, tau=0.25, batch_size=ROWS)
    again.load_state_dict(td3.state_dict())
    _set_rates(again)
    before = copy.deepcopy(td3)
    reported, errors = td3.step(batch, [noise])

    losses, values, expected_errors = [], [], []
    for start in range(0, delay * ROWS, ROWS):
        rows = slice(start, start + ROWS)
        part = batch.select(rows)
        with torch.no_grad():  # targets stay as they are for the whole of it
            smoothing = (0.2 * noise[rows]).clamp(-0.5, 0.5)
            action = (before.target_policy(part.next_observation) + smoothing).clamp(-1.0, 1.0)
            following = before.target_critics(part.next_observation, action).min(0).values[:, 0]
            target = part.reward + part.discount * following
        value = again.critics(part.observation, td3.actions.to_unit(part.action))[..., 0]
        loss = sum((part.weight * (one - target) ** 2).mean() for one in value)
        assert isinstance(loss, torch.Tensor)
        again.critic_optimizer.step(loss)
        losses.append(loss.detach())
        values.append(value.detach().mean())
        expected_errors.append((value.detach() - target).abs().mean(0))
    policy_loss = -again.critics(part.observation, again.policy(part.observation))[0].mean()
    again.policy_optimizer.step(policy_loss)
    metrics = dict(zip(METRICS, reported, strict=True))
    torch.testing.assert_close(metrics["loss/critic"], torch.stack(losses).mean())
    torch.testing.assert_close(metrics["loss/value"], torch.stack(values).mean())
    torch.testing.assert_close(metrics["loss/policy"], policy_loss.detach())
    torch.testing.assert_close(errors, torch.cat(expected_errors))
    for name in ("critics", "policy"):
        for ours, expected in zip(getattr(td3, name).parameters(), getattr(again, name).parameters(), strict=True):
            torch.testing.assert_close(ours, expected)
        targets = zip(
            getattr(td3, f"target_{name}").parameters(),
            getattr(before, f"target_{name}").parameters(),
            getattr(again, name).parameters(),
            strict=True,
        )
        for ours, old, source in targets:
            torch.testing.assert_close(ours, 0.75 * old + 0.25 * source)


def test_a_bad_number_in_any_part_is_reported() -> None:
    td3 = make(TD3, policy_delay=3)
    batch = random_batch(td3, 24)
    reward = batch.reward.clone()
    reward[0] = torch.nan
    reported, _ = td3.step(batch._replace(reward=reward), draw_noise(td3, 24))
    metrics = dict(zip(METRICS, reported, strict=True))
    assert metrics["loss/critic"].isnan()
    assert metrics["loss/critic_gradient_norm"].isnan()


# --- acting ---


def test_acting_is_the_policy_and_noise_only_where_asked() -> None:
    td3 = make(TD3, BOX, exploration_noise=0.1)
    observation = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0))
    mean = td3.actions.to_unit(td3.act(observation)["action"])
    torch.testing.assert_close(mean, td3.policy(observation).detach(), atol=1e-5, rtol=0)
    sampled = td3.actions.to_unit(td3.act(observation, torch.Generator().manual_seed(1))["action"])
    noise = sampled - mean
    torch.testing.assert_close(noise.std(0), torch.full((3,), 0.1), atol=0.003, rtol=0)
    torch.testing.assert_close(noise.mean(0), torch.zeros(3), atol=0.003, rtol=0)
    behaved = td3.behave(observation, torch.Generator().manual_seed(1))["action"]
    torch.testing.assert_close(td3.actions.to_unit(behaved), sampled)


@pytest.mark.parametrize("exploration", ["white", "coloured"])
def test_actions_with_noise_are_in_the_box(exploration: str) -> None:
    td3 = make(TD3, BOX, num_envs=500, exploration_noise=2.0, exploration=exploration)
    low, high = torch.from_numpy(BOX.low), torch.from_numpy(BOX.high)
    observation = torch.randn(500, 4)
    generator = torch.Generator().manual_seed(0)
    for action in (td3.behave(observation, generator)["action"], td3.act(observation, generator)["action"]):
        assert ((action >= low - 1e-6) & (action <= high + 1e-6)).all()
        at_a_bound = (action - low).abs().minimum((action - high).abs()) < 1e-6
        assert 0.4 < at_a_bound.float().mean() < 0.8


def test_coloured_noise_moves_slowly_in_training_alone() -> None:
    td3 = make(TD3, UNIT, num_envs=200, exploration="coloured", noise_exponent=2.0, exploration_noise=0.01)
    observation = torch.randn(200, 4)
    generator = torch.Generator().manual_seed(0)
    mean = td3.act(observation)["action"]
    coloured = torch.stack([td3.behave(observation, generator)["action"] - mean for _ in range(20)])
    white = torch.stack([td3.act(observation, generator)["action"] - mean for _ in range(20)])
    assert coloured.std() == pytest.approx(0.01, rel=0.2)
    assert coloured.diff(dim=0).std() < 0.3 * white.diff(dim=0).std()


def test_targets_are_not_optimised() -> None:
    td3 = make(TD3)
    optimised = {id(tensor) for one in td3.modules() if isinstance(one, FlatAdam) for tensor in one.parameters_in_order}
    for name, parameter in td3.named_parameters():
        assert (id(parameter) in optimised) is parameter.requires_grad is not name.startswith("target")
