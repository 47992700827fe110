"""The layout of trajectories: true successors, and torchrl's view of them."""

from __future__ import annotations

from typing import Any

import torch

from rl2cli.keys import as_tensordict, map_observation, next_observation


def _trajectories(nested: bool = False) -> dict[str, Any]:
    """Three steps of two environments; environment 1 ends at t = 1 in state 99."""
    observation = torch.arange(8.0).reshape(4, 2, 1)
    final = torch.tensor([[99.0]])
    done = torch.zeros(3, 2, 1, dtype=torch.bool)
    done[1, 1] = True
    return {
        "observation": {"a": {"b": observation}, "c": observation.long()} if nested else observation,
        "final_observation": {"a": {"b": final}, "c": final.long()} if nested else final,
        "final_index": torch.tensor([[1, 1]]),
        "action": torch.zeros(3, 2, dtype=torch.int64),
        "action_mask": torch.ones(4, 2, 3, dtype=torch.bool),
        "state_value": torch.randn(3, 2, 1),
        "reward": torch.ones(3, 2, 1),
        "terminated": done,
        "truncated": torch.zeros_like(done),
        "done": done,
        "valid": ~torch.zeros_like(done),
        "is_init": torch.zeros_like(done),
    }


def test_the_true_successor_is_the_final_observation_where_an_episode_ended() -> None:
    trajectories = _trajectories()
    following = next_observation(trajectories)
    assert following.squeeze(-1).tolist() == [[2.0, 3.0], [4.0, 99.0], [6.0, 7.0]]
    assert trajectories["observation"][2, 1].item() == 5.0  # the next episode's first one is untouched


def test_the_true_successor_of_nested_observations() -> None:
    following = next_observation(_trajectories(nested=True))
    assert following["a"]["b"].squeeze(-1).tolist() == [[2.0, 3.0], [4.0, 99.0], [6.0, 7.0]]
    assert following["c"].dtype == torch.int64


def test_map_observation_keeps_the_structure() -> None:
    one = {"a": {"b": torch.ones(2)}, "c": torch.zeros(2)}
    summed = map_observation(torch.add, one, one)
    assert summed["a"]["b"].tolist() == [2.0, 2.0]
    assert list(summed) == ["a", "c"]


def test_a_tensordict_is_a_view() -> None:
    trajectories = _trajectories(nested=True)
    view = as_tensordict(trajectories)
    assert view.batch_size == (3, 2)
    assert view["observation", "a", "b"].data_ptr() == trajectories["observation"]["a"]["b"].data_ptr()
    for key in ("action", "action_mask", "state_value", "is_init", "valid"):
        assert view[key].data_ptr() == trajectories[key].data_ptr()
    for key in ("reward", "done", "terminated", "truncated"):
        assert view["next", key].data_ptr() == trajectories[key].data_ptr()
    assert view["action_mask"].shape == (3, 2, 3)
    assert view["next", "observation", "a", "b"][1, 1].item() == 99.0
    assert "final_observation" not in view


def test_torchrl_takes_the_tensordict_unchanged() -> None:
    from tensordict.nn import TensorDictModule
    from torch import nn
    from torchrl.modules import ProbabilisticActor, ValueOperator
    from torchrl.objectives import ClipPPOLoss
    from torchrl.objectives.value import GAE

    trajectories = _trajectories()
    del trajectories["state_value"]  # GAE computes it
    trajectories["action_log_prob"] = torch.full((3, 2), -0.7)
    view = as_tensordict(trajectories)
    critic = ValueOperator(nn.Linear(1, 1), in_keys=["observation"])
    view = GAE(gamma=0.5, lmbda=0.5, value_network=critic)(view.transpose(0, 1)).transpose(0, 1)
    with torch.no_grad():
        value = critic.module(trajectories["observation"]).squeeze(-1)
        final = critic.module(torch.tensor([99.0])).item()
    following = value[1:].clone()
    following[1, 1] = final
    # environment 1 ended at t = 1: nothing follows. delta_1 = 1 - V_1; A_0 = 1 + 0.5 V_1 - V_0 + 0.25 delta_1
    ended = 1.0 - value[1, 1]
    torch.testing.assert_close(view["advantage"][1, 1, 0], ended)
    torch.testing.assert_close(view["advantage"][0, 1, 0], 1.0 + 0.5 * value[1, 1] - value[0, 1] + 0.25 * ended)
    torch.testing.assert_close(view["advantage"][2, 0, 0], 1.0 + 0.5 * following[2, 0] - value[2, 0])

    actor = ProbabilisticActor(
        TensorDictModule(nn.Linear(1, 3), in_keys=["observation"], out_keys=["logits"]),
        in_keys=["logits"],
        distribution_class=torch.distributions.Categorical,
        return_log_prob=True,
    )
    losses = ClipPPOLoss(actor, critic, loss_critic_type="l2")(view.reshape(-1))
    assert all(losses[key].isfinite() for key in ("loss_objective", "loss_critic", "loss_entropy"))
