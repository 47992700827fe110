"""DQN's loss and its gradients against torchrl's DQNLoss, and its targets against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dqn_task import GAMMA, make_dqn, move, random_batch, rollout
from gymnasium import spaces
from torch import nn


@pytest.mark.filterwarnings("ignore:No target network updater")
@pytest.mark.parametrize("dueling", [False, True], ids=["", "dueling"])
@pytest.mark.parametrize("huber", [False, True], ids=["l2", "smooth_l1"])
@pytest.mark.parametrize(
    ("double", "delayed"), [(True, True), (False, True), (False, False)], ids=["double", "delayed", "undelayed"]
)
def test_loss_and_gradients_are_torchrls(double: bool, delayed: bool, huber: bool, dueling: bool) -> None:
    from tensordict import TensorDict
    from torchrl.modules import QValueActor
    from torchrl.objectives import DQNLoss

    dqn = make_dqn(double=double, huber=huber, dueling=dueling)
    theirs = DQNLoss(
        QValueActor(dqn.values, in_keys=["observation"], action_space="categorical"),
        loss_function="smooth_l1" if huber else "l2",
        delay_value=delayed,
        double_dqn=double,
        action_space="categorical",
    )
    theirs.make_value_estimator(gamma=GAMMA)
    if delayed:
        move(dqn.values)  # which are theirs as well; their copies stay, and so do ours
    batch = random_batch(256)
    ended = (batch.discount == 0.0).unsqueeze(-1)
    following = {
        "observation": batch.next_observation,
        "reward": batch.reward.unsqueeze(-1),
        "terminated": ended,
        "done": ended,
    }
    given = TensorDict({"observation": batch.observation, "action": batch.action, "next": following}, [256])
    expected = theirs(given)["loss"]
    loss, _, error = dqn.loss(batch)

    assert 0.2 < (error.abs() < 1.0).float().mean() < 0.8  # both parts of Huber's loss are used
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(error.square(), given["td_error"].squeeze(-1), atol=1e-5, rtol=1e-5)
    parameters = list(dqn.values.parameters())
    for ours, other in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        assert other.abs().max() > 1e-4
        torch.testing.assert_close(ours, other, atol=1e-6, rtol=1e-5)


def test_importance_weights_and_errors_by_hand() -> None:
    dqn = make_dqn()
    dqn.values = dqn.targets = Table([[1.0, 0.0, 0.0]])
    batch = random_batch(3)._replace(
        observation=torch.zeros(3, 1),
        next_observation=torch.zeros(3, 1),
        action=torch.tensor([0, 0, 1]),
        reward=torch.tensor([0.5, 4.0, -0.25]),
        discount=torch.tensor([0.5, 0.5, 0.0]),
        weight=torch.tensor([1.0, 0.5, 0.2]),
    )
    loss, value, error = dqn.loss(batch)
    # y: 0.5 + 0.5 · 1 = 1, 4 + 0.5 · 1 = 4.5, -0.25. Q: 1, 1, 0. Huber: 0, 3.5 - 0.5, 0.25² / 2
    torch.testing.assert_close(value, torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(error, torch.tensor([0.0, -3.5, 0.25]))
    torch.testing.assert_close(loss, torch.tensor((0.5 * 3.0 + 0.2 * 0.03125) / 3))


def test_a_step_reports_what_priorities_need() -> None:
    dqn = make_dqn(dueling=True)
    move(dqn.targets)
    batch = random_batch(16)
    loss, value, error = dqn.loss(batch)
    reports, errors = dqn.step(batch, [])
    torch.testing.assert_close(errors, error.abs())
    torch.testing.assert_close(torch.stack(reports)[:2], torch.stack([loss, value.mean()]))
    assert not errors.requires_grad
    assert not torch.stack(reports).requires_grad


def test_dueling_by_hand() -> None:
    values = make_dqn(dueling=True).values
    nn.init.zeros_(values.head.weight)
    with torch.no_grad():
        values.head.bias.copy_(torch.tensor([5.0, 1.0, 2.0, 6.0]))  # V, then A of mean 3
    torch.testing.assert_close(values(torch.zeros(2, 4)), torch.tensor([3.0, 4.0, 8.0]).expand(2, 3))


# --- targets, worked by hand ---


class Table(nn.Module):
    """Action values of states that are numbers."""

    def __init__(self, rows: list[list[float]]) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return self.rows[observation[:, 0].long()]


def targets_of(n_step: int, double: bool, ending: str, mask: torch.Tensor | None = None) -> dict[int, float]:
    """Return the target of each state of one episode of states 1, 2, 3, 4 and the first step of another, 5, 6.

    Rewards are 1, 2, 4 and then 8; gamma is 0.5. Q' is (s, 10 s), and Q says that the first action is the better one.
    """
    space = spaces.Box(0.0, 10.0, (1,), np.float32)
    dqn = make_dqn(1, 100, mask is not None, space=space, choices=2, gamma=0.5, n_step=n_step, double=double)
    dqn.values = Table([[1.0, 0.0]] * 7)
    dqn.targets = Table([[float(s), 10.0 * s] for s in range(7)])
    ends = torch.tensor([False, False, True, False]).view(4, 1, 1)
    trajectories = rollout(
        4,
        1,
        observation=torch.tensor([1.0, 2.0, 3.0, 5.0, 6.0]).view(5, 1, 1),
        reward=torch.tensor([1.0, 2.0, 4.0, 8.0]).view(4, 1, 1),
        is_init=torch.tensor([True, False, False, True]).view(4, 1, 1),
        final_observation=torch.tensor([[4.0]]),
        final_index=torch.tensor([[2, 0]]),
        **{ending: ends},
    )
    if mask is not None:
        trajectories["action_mask"] = mask.unsqueeze(1)
    dqn.learner.buffer.add(trajectories)
    batch, _ = dqn.learner.buffer.sample(200, torch.Generator().manual_seed(0))
    _, value, error = dqn.loss(batch)
    states = batch.observation[:, 0].tolist()
    return {int(state): target for state, target in zip(states, (value - error).tolist(), strict=True)}


@pytest.mark.parametrize(
    ("n_step", "double", "ending", "expected"),
    [
        # y(1) = 1 + Q'(2) / 2, y(2) = 2 + Q'(3) / 2, y(3) = 4 (+ Q'(4) / 2 if cut there), y(5) = 8 + Q'(6) / 2
        (1, True, "terminated", {1: 2.0, 2: 3.5, 3: 4.0, 5: 11.0}),
        (1, True, "truncated", {1: 2.0, 2: 3.5, 3: 6.0, 5: 11.0}),
        (1, False, "truncated", {1: 11.0, 2: 17.0, 3: 24.0, 5: 38.0}),
        # y(1) = 1 + 2 / 2 + Q'(3) / 4, y(2) = 2 + 4 / 2 (+ Q'(4) / 4); one step from 3 and 5
        (2, True, "terminated", {1: 2.75, 2: 4.0, 3: 4.0, 5: 11.0}),
        (2, True, "truncated", {1: 2.75, 2: 5.0, 3: 6.0, 5: 11.0}),
        (2, False, "terminated", {1: 9.5, 2: 4.0, 3: 4.0, 5: 38.0}),
        # y(1) = 1 + 2 / 2 + 4 / 4 (+ Q'(4) / 8)
        (5, True, "terminated", {1: 3.0, 2: 4.0, 3: 4.0, 5: 11.0}),
        (5, True, "truncated", {1: 3.5, 2: 5.0, 3: 6.0, 5: 11.0}),
    ],
)
def test_targets(n_step: int, double: bool, ending: str, expected: dict[int, float]) -> None:
    assert targets_of(n_step, double, ending) == pytest.approx(expected)


@pytest.mark.parametrize("double", [True, False])
def test_the_maximum_is_over_allowed_actions(double: bool) -> None:
    # Of states 1, 2, 3, 5 and 6; the last one of an episode allows all.
    only_the_first, only_the_second = [True, False], [False, True]
    mask = torch.tensor([only_the_first, only_the_second, only_the_first, only_the_first, only_the_second])
    # Q'(2) = 20, Q'(3) = 3, Q'(6) = 60; Q'(4) = 4 by Q's choice, 40 by its own
    expected = {1: 11.0, 2: 3.5, 3: 6.0 if double else 24.0, 5: 38.0}
    assert targets_of(1, double, "truncated", mask) == pytest.approx(expected)
