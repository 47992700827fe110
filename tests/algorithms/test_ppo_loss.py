"""PPO's loss and its gradients against torchrl's ClipPPOLoss, and against numbers worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gymnasium import spaces
from ppo_task import NORMAL, make_ppo, random_batch
from torch import nn

from rl2cli.algorithms.ppo import PPO, Batch

CLIP, ENTROPY_COEF, VALUE_COEF = 0.2, 0.01, 0.7


class _LocScale(nn.Module):
    def __init__(self, ppo: PPO) -> None:
        super().__init__()
        self.mean = nn.Sequential(ppo.policy, ppo.policy_head)
        self.log_std = ppo.log_std

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = self.mean(observation)
        return mean, self.log_std.exp().expand_as(mean)


def _torchrl_loss(ppo: PPO, continuous: bool, normalize: bool, clip_value: float | None) -> Any:
    from tensordict.nn import TensorDictModule
    from torchrl.modules import IndependentNormal, ProbabilisticActor, ValueOperator
    from torchrl.objectives import ClipPPOLoss

    if continuous:
        keys, distribution, module = ["loc", "scale"], IndependentNormal, _LocScale(ppo)
    else:
        keys, distribution = ["logits"], torch.distributions.Categorical
        module = nn.Sequential(ppo.policy, ppo.policy_head)
    actor = ProbabilisticActor(
        TensorDictModule(module, in_keys=["observation"], out_keys=keys),
        in_keys=keys,
        distribution_class=distribution,
        return_log_prob=True,
    )
    critic = ValueOperator(nn.Sequential(ppo.critic, ppo.value_head), in_keys=["observation"])
    return ClipPPOLoss(
        actor,
        critic,
        clip_epsilon=CLIP,
        entropy_bonus=True,
        samples_mc_entropy=1,
        entropy_coeff=ENTROPY_COEF,
        critic_coeff=VALUE_COEF,
        loss_critic_type="l2",
        normalize_advantage=normalize,
        clip_value=clip_value,
        functional=False,
    )


def _as_torchrl(batch: Batch) -> Any:
    from tensordict import TensorDict

    return TensorDict(
        {
            "observation": batch.observation,
            "action": batch.action,
            "action_log_prob": batch.log_prob,
            "advantage": batch.advantage.unsqueeze(-1),
            "value_target": batch.value_target.unsqueeze(-1),
            "state_value": batch.value.unsqueeze(-1),
        },
        batch_size=[len(batch.advantage)],
    )


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("clip_value", [None, 0.3])
@pytest.mark.parametrize("continuous", [False, True])
def test_loss_and_gradients_are_torchrls(continuous: bool, clip_value: float | None, normalize: bool) -> None:
    ppo = make_ppo(
        NORMAL if continuous else spaces.Discrete(3),
        value_coef=VALUE_COEF,
        normalize_advantage=normalize,
        clip_value=clip_value,
        log_std_init=-0.3,
    )
    batch = random_batch(ppo, 256)
    loss, (policy, value, entropy, _, clip_fraction) = ppo.loss(ppo.normalized(batch), CLIP, ENTROPY_COEF)
    theirs = _torchrl_loss(ppo, continuous, normalize, clip_value)(_as_torchrl(batch))
    their_loss = theirs["loss_objective"] + theirs["loss_critic"] + theirs["loss_entropy"]

    assert 0.1 < clip_fraction < 0.9  # both sides of the minimum are taken
    torch.testing.assert_close(policy, theirs["loss_objective"].detach(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(VALUE_COEF * value, theirs["loss_critic"].detach(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(-ENTROPY_COEF * entropy, theirs["loss_entropy"].detach(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(clip_fraction, theirs["clip_fraction"].detach(), atol=1e-6, rtol=1e-6)
    parameters = [p for p in ppo.parameters() if p.numel()]
    ours = torch.autograd.grad(loss, parameters)
    expected = torch.autograd.grad(their_loss, parameters)
    for mine, other in zip(ours, expected, strict=True):
        assert other.abs().max() > 1e-4
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


def test_clipped_objective_by_hand() -> None:
    ppo = make_ppo(spaces.Discrete(2), normalize_advantage=False, value_coef=0.0)
    nn.init.zeros_(ppo.policy_head.weight)  # both actions have probability 0.5
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1])
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    batch = random_batch(ppo, 5)._replace(log_prob=torch.log(0.5 / ratio), advantage=advantage)
    _, (policy, _, entropy, kl, clip_fraction) = ppo.loss(batch, 0.2, 0.0)
    # min(rA, clip(r)A): 1.2, -1.5, 0.5, -0.8, 2.2; their mean is 1.6 / 5
    torch.testing.assert_close(policy, torch.tensor(-0.32))
    torch.testing.assert_close(entropy, torch.tensor(2.0).log())
    torch.testing.assert_close(clip_fraction, torch.tensor(0.8))
    # (r - 1) - ln r: 0.0945349 twice, 0.1931472 twice, 0.0046898
    torch.testing.assert_close(kl, torch.tensor((2 * 0.0945349 + 2 * 0.1931472 + 0.0046898) / 5), atol=1e-6, rtol=0)


def test_clipped_value_by_hand() -> None:
    ppo = make_ppo(spaces.Discrete(2), normalize_advantage=False, clip_value=0.5)
    nn.init.zeros_(ppo.value_head.weight)
    nn.init.constant_(ppo.value_head.bias, 2.0)
    batch = random_batch(ppo, 3)._replace(
        value=torch.tensor([1.0, 2.2, 1.0]), value_target=torch.tensor([3.0, 3.0, 0.0])
    )
    _, (_, value, *_) = ppo.loss(batch, 0.2, 0.0)
    # V = 2, kept near the old one: 1.5, 2.0, 1.5. Squared errors, the larger of both: 2.25, 1, 4
    torch.testing.assert_close(value, torch.tensor((2.25 + 1.0 + 4.0) / 3))
