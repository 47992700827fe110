"""What PPO makes of a rollout, and how it learns from it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ppo_task import VECTOR, make_ppo, random_batch, rollout_of

from rl2cli.algorithms import ppo as ppo_module
from rl2cli.algorithms.ppo import PPO, Batch
from rl2cli.algorithms.ppo_options import PPOOptions
from rl2cli.algorithms.schedules import Schedule
from rl2cli.errors import NonFiniteError
from rl2cli.options import nearest_divisors
from rl2cli.training.precision import set_precision

DISCRETE = spaces.Discrete(2)
BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)
IMAGES = spaces.Box(0, 255, (4, 14, 10), np.uint8)
SCALAR = spaces.Box(-np.inf, np.inf, (1,), np.float32)


def _reads_its_value(ppo: PPO) -> PPO:
    """Make the critic say what the standardised observation says."""
    ppo._value = lambda observation: observation[..., 0]
    return ppo


def _column(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers).unsqueeze(-1)


def _flags(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.bool).unsqueeze(-1)


@pytest.mark.parametrize(
    ("ending", "advantages"),
    [
        # gamma = lambda = 0.5. Row 3: 4 + 0.5 * 3 - 2 = 3.5; row 2 was no frame.
        # Row 1 ends: 2 - 1 = 1. Row 0: 1 + 0.5 * 1 - 1 + 0.25 * 1 = 0.75
        ("terminated", [0.75, 1.0, 3.5]),
        # Row 1 is cut in a state worth 100: 2 + 50 - 1 = 51. Row 0: 0.5 + 0.25 * 51 = 13.25
        ("truncated", [13.25, 51.0, 3.5]),
    ],
)
def test_batch_by_hand_with_an_end_and_a_row_that_was_no_frame(ending: str, advantages: list[float]) -> None:
    ppo = _reads_its_value(make_ppo(DISCRETE, SCALAR, num_envs=1, gamma=0.5, gae_lambda=0.5))
    trajectories = rollout_of(
        ppo,
        _column(1.0, 1.0, 7.0, 2.0, 3.0).unsqueeze(-1),
        torch.tensor([[0], [1], [1], [0]]),
        reward=_column(1.0, 2.0, 9.0, 4.0),
        valid=_flags(1, 1, 0, 1),
        final_observation=torch.tensor([[100.0]]),
        final_index=torch.tensor([[1, 0]]),
        **{ending: _flags(0, 1, 0, 0)},
    )
    batch = ppo.make_batch(trajectories)
    torch.testing.assert_close(batch.advantage, torch.tensor(advantages))
    torch.testing.assert_close(batch.value, torch.tensor([1.0, 1.0, 2.0]))
    torch.testing.assert_close(batch.value_target, batch.advantage + batch.value)
    assert batch.action.tolist() == [0, 1, 0]
    assert batch.observation.flatten().tolist() == [1.0, 1.0, 2.0]


def test_old_log_probabilities_are_those_of_the_acting_policy() -> None:
    ppo = make_ppo(spaces.Discrete(3))
    observation = torch.randn(5, 2, 4)
    action = torch.randint(0, 3, (4, 2))
    batch = ppo.make_batch(rollout_of(ppo, observation, action))
    expected = torch.log_softmax(ppo.policy_head(ppo.policy(observation[:4].flatten(0, 1))), -1)
    torch.testing.assert_close(batch.log_prob, expected.gather(-1, action.reshape(-1, 1)).squeeze(-1).detach())
    _, (*_, kl, clip_fraction) = ppo.loss(batch, 0.2, 0.0)  # nothing was learned yet
    assert kl.abs() < 1e-6
    assert clip_fraction == 0.0


def test_a_masked_rollout_has_masked_log_probabilities() -> None:
    ppo = make_ppo(spaces.Discrete(3), num_envs=1)
    mask = torch.tensor([[True, False, True]]).expand(5, 1, 3).clone()
    trajectories = rollout_of(ppo, torch.randn(5, 1, 4), torch.zeros(4, 1, dtype=torch.int64))
    trajectories["action_mask"] = mask
    batch = ppo.make_batch(trajectories)
    outputs = trajectories["policy_output"].squeeze(1)[:, [0, 2]]
    torch.testing.assert_close(batch.log_prob, outputs.log_softmax(-1)[:, 0])
    _, (*_, kl, clip_fraction) = ppo.loss(batch, 0.2, 0.0)
    assert kl.abs() < 1e-6
    assert clip_fraction == 0.0


def _random_rollout(ppo: PPO, length: int = 8, num_envs: int = 2, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return rollout_of(
        ppo,
        torch.randn(length + 1, num_envs, 4, generator=generator),
        torch.randint(0, 2, (length, num_envs), generator=generator),
        reward=torch.randn(length, num_envs, generator=generator),
    )


def test_every_epoch_passes_over_every_frame_once_in_another_order() -> None:
    ppo = make_ppo(DISCRETE, minibatch_size=4, epochs=3)
    seen: list[list[float]] = []
    learn = ppo._learn

    def spy(batch: Batch, *coefficients: float) -> torch.Tensor:
        seen.append(batch.value_target.tolist())
        return learn(batch, *coefficients)

    ppo._learn = spy
    trajectories = _random_rollout(ppo)
    frames = sorted(ppo.make_batch(trajectories).value_target.tolist())
    metrics = ppo.update(trajectories, 16)
    assert [len(part) for part in seen] == [4] * 12
    epochs = [list(itertools.chain(*seen[k : k + 4])) for k in (0, 4, 8)]
    assert all(sorted(epoch) == frames for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert metrics["loss/epochs"] == 3.0


def test_update_is_a_plain_loop_of_torch_adam() -> None:
    ours = make_ppo(DISCRETE, minibatch_size=16, epochs=4, entropy_coef=0.01, learning_rate=1e-2)
    theirs = make_ppo(DISCRETE, minibatch_size=16, entropy_coef=0.01)
    trajectories = _random_rollout(ours)
    parameters = [p for p in theirs.parameters() if p.numel()]
    adam = torch.optim.Adam(parameters, lr=1e-2, eps=1e-5)
    batch = theirs.make_batch(trajectories)
    for _ in range(4):
        adam.zero_grad()
        theirs.loss(theirs.normalized(batch), 0.2, 0.01)[0].backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        adam.step()
    ours.update(trajectories, 16)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_epochs_stop_when_the_policy_has_moved_far() -> None:
    ppo = make_ppo(DISCRETE, minibatch_size=4, epochs=50, target_kl=0.01, learning_rate=3e-2)
    assert 1.0 <= ppo.update(_random_rollout(ppo), 16)["loss/epochs"] < 50.0


def test_the_learning_rate_follows_the_kl_and_is_saved() -> None:
    ppo = make_ppo(DISCRETE, adaptive_kl=0.01, learning_rate=1.0)
    for kl, factor in [(0.03, 1 / 1.5), (0.012, 1 / 1.5), (0.001, 1.0), (0.001, 1.5)]:
        ppo._adapt_learning_rate(kl, 0.01)
        assert ppo.adaptive_factor == pytest.approx(factor)
    for kl, limit in [(9.0, 0.01), (0.0, 100.0)]:
        for _ in range(50):
            ppo._adapt_learning_rate(kl, 0.01)
        assert ppo.adaptive_factor == pytest.approx(limit)
    other = make_ppo(DISCRETE, adaptive_kl=0.01, learning_rate=1.0)
    other.load_state_dict(ppo.state_dict())
    assert other.adaptive_factor == ppo.adaptive_factor


def test_schedules_are_functions_of_absolute_frames() -> None:
    ppo = make_ppo(DISCRETE, total_frames=100, learning_rate=Schedule(start=1e-2, end=0.0))
    assert ppo.update(_random_rollout(ppo), 25)["loss/learning_rate"] == pytest.approx(0.75e-2)
    assert ppo.update(_random_rollout(ppo), 100)["loss/learning_rate"] == 0.0

    ppo = make_ppo(DISCRETE, total_frames=100, learning_rate=1e-4, adaptive_kl=Schedule(start=10.0, end=1e-12))
    ppo.update(_random_rollout(ppo), 25)
    assert ppo.adaptive_factor == 1.5
    ppo.update(_random_rollout(ppo), 100)
    assert ppo.adaptive_factor == 1.0


@pytest.mark.parametrize("bad", ["reward", "observation"])
def test_a_loss_that_is_not_finite_names_what_was_wrong_and_keeps_the_weights(bad: str) -> None:
    ppo = make_ppo(DISCRETE)
    trajectories = _random_rollout(ppo)
    trajectories[bad][3, 1] = float("nan")
    before = {key: value.clone() for key, value in ppo.state_dict().items() if isinstance(value, torch.Tensor)}
    with pytest.raises(NonFiniteError, match=r"loss/.*advantage, value_target"):
        ppo.update(trajectories, 16)
    after = ppo.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items() if key != "optimizer.learning_rate")


def test_a_whole_rollout_without_a_frame_teaches_nothing() -> None:
    ppo = make_ppo(DISCRETE)
    trajectories = _random_rollout(ppo, length=1)
    trajectories["valid"] = torch.zeros_like(trajectories["valid"])
    before = ppo.optimizer.flat.clone()
    ppo.update(trajectories, 0)
    assert torch.equal(ppo.optimizer.flat, before)


def test_a_minibatch_of_one_frame_is_not_standardised_to_nothing() -> None:
    ppo = make_ppo(DISCRETE, minibatch_size=2)
    trajectories = _random_rollout(ppo, length=2)
    trajectories["valid"][0, 0] = False  # three frames: minibatches of one and two
    ppo.update(trajectories, 3)
    assert all(parameter.isfinite().all() for parameter in ppo.parameters())


def test_acting_and_updating_use_the_same_statistics() -> None:
    ppo = make_ppo(DISCRETE, normalize_observation=True, normalize_reward=True, epochs=1)
    trajectories = _random_rollout(ppo)
    trajectories["observation"] = trajectories["observation"] * 5 + 3
    mean = trajectories["observation"][:-1].flatten(0, 1).mean(0)
    ppo.update(trajectories, 16)
    torch.testing.assert_close(ppo.normalizer.moments.mean.float(), mean)
    flat = trajectories["observation"][:-1].flatten(0, 1)
    seen: dict[str, torch.Tensor] = {}
    ppo.policy.register_forward_pre_hook(lambda _, inputs: seen.update(input=inputs[0]))
    expected = (flat - mean) / flat.std(0, correction=0)
    ppo.act(flat)
    torch.testing.assert_close(seen["input"], expected, atol=1e-5, rtol=1e-5)
    batch = ppo.make_batch(rollout_of(ppo, trajectories["observation"], trajectories["action"]))
    ppo._learn(batch, torch.tensor(0.2), torch.tensor(0.0))
    torch.testing.assert_close(seen["input"], expected, atol=1e-5, rtol=1e-5)


def test_rows_that_were_no_frame_leave_the_statistics_alone() -> None:
    ppo = make_ppo(DISCRETE, normalize_observation=True, normalize_reward=True)
    trajectories = _random_rollout(ppo)
    trajectories["observation"][3, 0] = 1e6
    trajectories["reward"][3, 0] = 1e6
    trajectories["valid"] = trajectories["valid"].clone()
    trajectories["valid"][3, 0] = False
    ppo._update_statistics(trajectories)
    assert ppo.normalizer.moments.count == ppo.reward_normalizer.moments.count == 15
    assert ppo.normalizer.moments.mean.abs().max() < 10
    assert ppo.reward_normalizer.moments.mean.abs() < 10


def test_act_deterministically_and_by_chance() -> None:
    ppo = make_ppo(spaces.Discrete(3))
    observation = torch.randn(500, 4)
    first = ppo.act(observation)
    assert torch.equal(first["action"], first["policy_output"].argmax(-1))
    drawn = ppo.act(observation, torch.Generator().manual_seed(0))["action"]
    assert len(drawn.unique()) == 3
    assert torch.equal(drawn, ppo.act(observation, torch.Generator().manual_seed(0))["action"])


def test_first_weights_are_orthogonal_and_the_first_policy_is_nearly_uniform() -> None:
    ppo = make_ppo(spaces.Discrete(3))
    weight = ppo.policy.layers[0].weight  # [16, 4]: its columns are orthogonal with length √2
    torch.testing.assert_close(weight.T @ weight, 2.0 * torch.eye(4), atol=1e-5, rtol=0)
    assert (ppo.policy.layers[0].bias == 0).all()
    rows = ppo.policy_head.weight
    torch.testing.assert_close(rows @ rows.T, 1e-4 * torch.eye(3), atol=1e-8, rtol=0)
    plain = make_ppo(spaces.Discrete(3), orthogonal_init=False)
    weight = plain.policy.layers[0].weight
    assert (weight.T @ weight - 2.0 * torch.eye(4)).abs().max() > 0.1


def test_composite_and_continuous_actions_go_through_an_update() -> None:
    space = spaces.Dict({"arm": spaces.Box(-1.0, 1.0, (2,), np.float32), "grip": spaces.Discrete(3)})
    for action_space in (space, spaces.Box(-1.0, 1.0, (2, 2), np.float32), spaces.MultiBinary(3)):
        ppo = make_ppo(action_space)
        observation = torch.randn(9, 2, 4)
        flat = ppo.act(observation[:8].flatten(0, 1), torch.Generator().manual_seed(0))["action"]
        trajectories = rollout_of(ppo, observation, flat.clone().unflatten(0, (8, 2)), reward=torch.randn(8, 2))
        before = ppo.optimizer.flat.clone()
        metrics = ppo.update(trajectories, 16)
        assert all(np.isfinite(value) for value in metrics.values())
        assert not torch.equal(ppo.optimizer.flat, before)


def test_statistics_and_optimiser_are_part_of_its_state() -> None:
    ppo = make_ppo(DISCRETE, normalize_observation=True, normalize_reward=True)
    ppo.update(_random_rollout(ppo), 16)
    other = make_ppo(DISCRETE, seed=3, normalize_observation=True, normalize_reward=True)
    other.load_state_dict(ppo.state_dict())
    other.generators["minibatches"].set_state(ppo.generators["minibatches"].get_state())
    trajectories = _random_rollout(ppo, seed=2)
    for algorithm in (ppo, other):
        algorithm.update(trajectories, 32)
    for key, value in ppo.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other.state_dict()[key]), key


@pytest.mark.parametrize(
    ("whole", "size", "expected"), [(1024, 100, [64, 128]), (12, 5, [4, 6]), (8, 9, [8]), (7, 0, [1])]
)
def test_nearest_divisors(whole: int, size: int, expected: list[int]) -> None:
    assert nearest_divisors(whole, size) == expected


def test_sizes_that_do_not_fit_are_told() -> None:
    (misfit,) = PPOOptions(rollout_length=128, minibatch_size=100).misfits(8, 10_000)
    assert misfit.key == "minibatch_size"
    assert "1024 frames" in misfit.message
    assert "64 and 128" in (misfit.hint or "")
    assert PPOOptions().misfits(8, 10_000) == []
    keys = {misfit.key for misfit in PPOOptions(minibatch_size=1).misfits(8, 10_000)}
    assert keys == {"minibatch_size"}
    assert PPOOptions(minibatch_size=1, normalize_advantage=False).misfits(8, 10_000) == []
    both = PPOOptions(adaptive_kl=0.01, learning_rate=Schedule(start=1.0, end=0.5))
    assert [misfit.key for misfit in both.misfits(8, 10_000)] == ["adaptive_kl"]


def test_loss_takes_dict_observations() -> None:
    space = spaces.Dict({"a": VECTOR, "b": spaces.Discrete(3)})
    ppo = make_ppo(DISCRETE, space)
    batch = random_batch(make_ppo(DISCRETE), 6)
    batch = batch._replace(observation={"a": batch.observation, "b": torch.tensor([0, 1, 2, 0, 1, 2])})
    assert ppo.loss(batch.select(slice(0, 4)), 0.2, 0.0)[0].isfinite()


def test_the_last_observation_of_an_episode_is_normalised_too() -> None:
    ppo = make_ppo(DISCRETE, SCALAR, num_envs=1, gamma=0.5, gae_lambda=0.0, normalize_observation=True)
    ppo.normalizer.update(torch.tensor([[2.0], [6.0]]))  # mean 4, deviation 2
    _reads_its_value(ppo)
    trajectories = rollout_of(
        ppo,
        torch.tensor([4.0, 4.0, 4.0]).reshape(3, 1, 1),  # all worth 0
        torch.zeros(2, 1, dtype=torch.int64),
        truncated=_flags(1, 0),
        final_observation=torch.tensor([[8.0]]),  # (8 - 4) / 2 = 2
        final_index=torch.tensor([[0, 0]]),
    )
    torch.testing.assert_close(ppo.make_batch(trajectories).advantage, torch.tensor([0.5 * 2.0, 0.0]))


# --- images and games ---


def test_a_lost_life_is_an_end_without_a_final_observation() -> None:
    # gamma = lambda = 0.5. Row 2: 4 + 0.5 * 3 - 2 = 3.5. Row 1 is a life's last: 2 - 1 = 1, and row 0 sums up to it:
    # 1 + 0.5 * 1 - 1 + 0.25 * 1 = 0.75
    ppo = _reads_its_value(make_ppo(DISCRETE, SCALAR, num_envs=1, gamma=0.5, gae_lambda=0.5))
    observation = _column(1.0, 1.0, 2.0, 3.0).unsqueeze(-1)
    trajectories = rollout_of(ppo, observation, torch.tensor([[0], [1], [0]]), reward=_column(1.0, 2.0, 4.0))
    trajectories["terminated"] = _flags(0, 1, 0).unsqueeze(-1)
    assert not trajectories["done"].any()
    torch.testing.assert_close(ppo.make_batch(trajectories).advantage, torch.tensor([0.75, 1.0, 3.5]))


def test_rewards_are_cut_for_learning_only() -> None:
    ppo = _reads_its_value(make_ppo(DISCRETE, SCALAR, num_envs=1, gamma=0.5, gae_lambda=0.0, clip_reward=1.5))
    reward = _column(4.0, -7.0, 0.5)
    trajectories = rollout_of(ppo, torch.zeros(4, 1, 1), torch.zeros(3, 1, dtype=torch.int64), reward=reward)
    assert ppo.make_batch(trajectories).advantage.tolist() == [1.5, -1.5, 0.5]
    assert torch.equal(trajectories["reward"].squeeze(-1), reward)


def test_a_shared_network_values_what_it_acts_on() -> None:
    ppo = make_ppo(DISCRETE, share_network=True)
    assert ppo.critic is None
    assert not ppo.has_critic
    assert sum(name.startswith("critic") for name in ppo.state_dict()) == 0
    observation = torch.randn(4, 2, 4)
    trajectories = rollout_of(ppo, observation, torch.zeros(3, 2, dtype=torch.int64))
    computed = ppo.make_batch(trajectories)
    acted = ppo.act(observation[:3].flatten(0, 1), torch.Generator())["state_value"].clone()
    remembered = ppo.make_batch(trajectories | {"state_value": acted.view(3, 2, 1)})
    for one, other in zip(computed.tensors(), remembered.tensors(), strict=True):
        torch.testing.assert_close(one, other)
    assert "state_value" not in ppo.act(observation[0])


def test_both_heads_teach_a_shared_network() -> None:
    gradients = []
    for value_coef in (0.0, 0.5):
        ppo = make_ppo(DISCRETE, share_network=True, value_coef=value_coef)
        loss, _ = ppo.loss(random_batch(ppo, 8), torch.tensor(0.2), torch.tensor(0.0))
        (gradient,) = torch.autograd.grad(loss, [ppo.policy.layers[0].weight])
        gradients.append(gradient)
    assert not torch.allclose(*gradients)


def test_values_are_the_same_in_pieces() -> None:
    ppo = make_ppo(DISCRETE)
    trajectories = rollout_of(ppo, torch.randn(6, 2, 4), torch.zeros(5, 2, dtype=torch.int64))
    whole = ppo.make_batch(trajectories)
    ppo._rows_at_once = 5  # 12 rows
    for one, other in zip(whole.tensors(), ppo.make_batch(trajectories).tensors(), strict=True):
        torch.testing.assert_close(one, other)


def _acted(acting: PPO, learning: PPO, space: spaces.Space[Any], images: torch.Tensor | None = None) -> Any:
    """Return a rollout that `acting` collected, as a copy of `learning` gives it back where there is a lag."""
    generator = torch.Generator().manual_seed(5)
    observation = torch.randn(9, 2, 4, generator=generator) if images is None else images
    chosen = acting.act(observation[:-1].flatten(0, 1), generator)
    action = chosen["action"].clone().unflatten(0, (8, 2))
    trajectories = rollout_of(acting, observation, action, reward=torch.randn(8, 2, generator=generator))
    del trajectories["policy_output"]
    kept = {key: value.clone().unflatten(0, (8, 2)) for key, value in chosen.items() if key != "action"}
    timely = ["policy_output", *(["state_value"] if learning.critic is None else [])]
    assert sorted(kept) == (["action_log_prob"] if learning.task.lag or acting.acts_for_another else timely)
    return trajectories | kept


@pytest.mark.parametrize("space", [DISCRETE, BOX])
@pytest.mark.parametrize("share", [False, True])
def test_with_a_lag_and_equal_weights_a_rollout_says_what_it_says_without(
    space: spaces.Space[Any], share: bool
) -> None:
    late, timely = make_ppo(space, lag=2, share_network=share), make_ppo(space, share_network=share)
    batches = [ppo.make_batch(_acted(ppo, ppo, space)) for ppo in (late, timely)]
    for one, other in zip(batches[0].tensors(), batches[1].tensors(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_with_a_lag_what_has_become_improbable_counts_less() -> None:
    late, other = make_ppo(DISCRETE, lag=2), make_ppo(DISCRETE, lag=2, seed=9)
    with torch.no_grad():
        other.policy_head.weight.mul_(100.0)
    trajectories = _acted(other, late, DISCRETE)
    batch = late.make_batch(trajectories)
    ratio = (batch.log_prob - trajectories["action_log_prob"].flatten()).exp().clamp(max=1.0).view(8, 2)
    value = late._value(trajectories["observation"].flatten(0, 1)).detach().view(9, 2)
    reward, gamma, mix = trajectories["reward"].squeeze(-1), late.options.gamma, late.options.gae_lambda
    delta = ratio * (reward + gamma * value[1:] - value[:-1])
    expected = delta.clone()
    for t in range(6, -1, -1):
        expected[t] += gamma * mix * ratio[t] * expected[t + 1]
    assert ratio.min() < 0.9
    torch.testing.assert_close(batch.advantage.view(8, 2), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(batch.value_target, batch.advantage + value[:-1].flatten())


@pytest.mark.parametrize("space", [DISCRETE, BOX])
def test_one_update_behind_the_objective_is_decoupled(space: spaces.Space[Any]) -> None:
    acting, learning = make_ppo(space, share_network=True, seed=9), make_ppo(space, share_network=True)
    acting.acts_for_another = True
    with torch.no_grad():
        acting.log_std.fill_(-0.5)
        acting.policy_head.weight.mul_(100.0)
    trajectories = _acted(acting, learning, space)
    batch = learning.make_batch(trajectories)
    own = learning.make_batch(
        rollout_of(learning, trajectories["observation"], trajectories["action"]) | {"reward": trajectories["reward"]}
    )
    ratio = (own.log_prob - trajectories["action_log_prob"].flatten()).exp()
    assert ratio.min() < 0.9
    assert ratio.max() > 1.1
    for name in ("log_prob", "value", "value_target"):
        torch.testing.assert_close(getattr(batch, name), getattr(own, name))
    torch.testing.assert_close(batch.advantage, own.advantage * ratio.clamp(max=1.0))


def test_what_acts_for_another_says_how_probable_it_was() -> None:
    acting = make_ppo(BOX)
    acting.acts_for_another = True
    with torch.no_grad():
        acting.log_std.fill_(-0.5)
    observation = torch.randn(5, 4)
    chosen = acting.act(observation, torch.Generator().manual_seed(1))
    mean = acting.policy_head(acting.policy(observation))
    expected = torch.distributions.Normal(mean, math.exp(-0.5)).log_prob(chosen["action"]).sum(-1)
    torch.testing.assert_close(chosen["action_log_prob"], expected)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("lag", [0, 2])
def test_images_that_are_prepared_in_every_epoch_teach_the_same(
    monkeypatch: pytest.MonkeyPatch, precision: torch.dtype, normalize: bool, lag: int
) -> None:
    images = torch.randint(0, 256, (9, 2, *IMAGES.shape), dtype=torch.uint8)
    learned = []
    for limit in (ppo_module.BYTES_PREPARED, 0):
        monkeypatch.setattr(ppo_module, "BYTES_PREPARED", limit)
        ppo = make_ppo(DISCRETE, IMAGES, normalize_observation=normalize, minibatch_size=4, rollout_length=8, lag=lag)
        set_precision(ppo, str(precision).removeprefix("torch."))
        ppo.normalizer.update(images.flatten(0, 1))
        trajectories = _acted(ppo, ppo, DISCRETE, images)
        prepared = ppo.make_batch(trajectories).select(torch.tensor([5, 2, 9])).observation
        dtype = precision if normalize and limit else torch.uint8
        assert (prepared.dtype, prepared.movedim(1, 3).is_contiguous()) == (dtype, limit > 0)
        ppo.update(trajectories, 10)
        learned.append([parameter.detach().clone() for parameter in ppo.parameters()])
    for one, other in zip(*learned, strict=True):
        assert torch.equal(one, other)
