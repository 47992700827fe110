"""Advantages against numbers worked by hand and against torchrl."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rl2cli.algorithms.returns import explained_variance, generalized_advantage_estimation, vtrace


@pytest.mark.parametrize("array", [np.array, torch.tensor])
def test_gae_by_hand_with_a_truncation_and_a_termination(array) -> None:
    # gamma = lambda = 0.5; columns are environments. Environment 0 is truncated at t = 1, where its last state is
    # worth 10; environment 1 ends at t = 2, where a successor of value 100 must not count.
    reward = array([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0], [4.0, 0.0]])
    value = array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    next_value = array([[1.0, 2.0], [10.0, 2.0], [1.0, 100.0], [1.0, 4.0]])
    terminated = array([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    done = array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    # environment 0: delta = 1 + 0.5 - 1, 2 + 5 - 1, 3 + 0.5 - 1, 4 + 0.5 - 1 = 0.5, 6, 2.5, 3.5
    #   A3 = 3.5, A2 = 2.5 + 0.25 * 3.5 = 3.375, A1 = 6 (the episode ended), A0 = 0.5 + 0.25 * 6 = 2
    # environment 1: delta = 0 + 1 - 2, 0 + 1 - 2, 1 - 2, 0 + 2 - 2 = -1, -1, -1, 0
    #   A3 = 0, A2 = -1, A1 = -1 - 0.25 = -1.25, A0 = -1 - 0.25 * 1.25 = -1.3125
    advantage = generalized_advantage_estimation(reward, value, next_value, terminated, done, 0.5, 0.5)
    expected = [[2.0, -1.3125], [6.0, -1.25], [3.375, -1.0], [3.5, 0.0]]
    np.testing.assert_array_equal(np.asarray(advantage), np.array(expected))


@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.9)])
def test_gae_is_torchrls(gamma: float, gae_lambda: float) -> None:
    from torchrl.objectives.value.functional import generalized_advantage_estimate

    generator = torch.Generator().manual_seed(3)
    reward, value, next_value = torch.randn(3, 40, 6, generator=generator, dtype=torch.float64)
    terminated = torch.rand(40, 6, generator=generator) < 0.1
    done = terminated | (torch.rand(40, 6, generator=generator) < 0.1)
    ours = generalized_advantage_estimation(
        reward, value, next_value, terminated.double(), done.double(), gamma, gae_lambda
    )
    # torchrl keeps gamma in float32
    rows = [tensor.T.unsqueeze(-1) for tensor in (value, next_value, reward, done, terminated)]  # [N, T, 1]
    theirs, target = generalized_advantage_estimate(gamma, gae_lambda, *rows)
    torch.testing.assert_close(ours, theirs.squeeze(-1).T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours + value, target.squeeze(-1).T, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("array", [np.array, torch.tensor])
def test_vtrace_by_hand_with_a_truncation_and_a_termination(array) -> None:
    # gamma = 0.5, lambda = 1; ends as in the first test. Temporal differences r + gamma V' - V, as there:
    #   environment 0: 0.5, 6, 2.5, 3.5; environment 1: -1, -1, -1, 0
    reward = array([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0], [4.0, 0.0]])
    value = array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    next_value = array([[1.0, 2.0], [10.0, 2.0], [1.0, 100.0], [1.0, 4.0]])
    terminated = array([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    done = array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    ratio = array([[2.0, 0.5], [0.5, 3.0], [1.0, 0.25], [1.0, 1.0]])
    # environment 0, rho = c = 1, 0.5, 1, 1 (2 is clipped):
    #   A3 = 3.5, A2 = 2.5 + 0.5 * 3.5 = 4.25, A1 = 0.5 * 6 = 3 (the episode ended), A0 = 0.5 + 0.5 * 3 = 2
    # environment 1, rho = c = 0.5, 1, 0.25, 1 (3 is clipped):
    #   A3 = 0, A2 = 0.25 * -1 = -0.25, A1 = -1 + 0.5 * -0.25 = -1.125, A0 = 0.5 * (-1 + 0.5 * -1.125) = -0.78125
    advantage = vtrace(reward, value, next_value, terminated, done, ratio, 0.5)
    expected = [[2.0, -0.78125], [3.0, -1.125], [4.25, -0.25], [3.5, 0.0]]
    np.testing.assert_array_equal(np.asarray(advantage), np.array(expected))
    # remark 2, lambda = 0.5: c is halved, rho is not: A2 = 2.5 + 0.25 * 3.5 = 3.375, A0 = 0.5 + 0.25 * 3 = 1.25
    halved = vtrace(reward, value, next_value, terminated, done, ratio, 0.5, 0.5)
    np.testing.assert_array_equal(np.asarray(halved)[:, 0], np.array([1.25, 3.0, 3.375, 3.5]))


@pytest.mark.parametrize("mix", [1.0, 0.9, 0.0])
def test_vtrace_of_equal_policies_is_gae(mix: float) -> None:
    generator = torch.Generator().manual_seed(3)
    reward, value, next_value = torch.randn(3, 40, 6, generator=generator, dtype=torch.float64)
    terminated = (torch.rand(40, 6, generator=generator) < 0.1).double()
    done = ((torch.rand(40, 6, generator=generator) < 0.1) | terminated.bool()).double()
    arrays = reward, value, next_value, terminated, done
    expected = generalized_advantage_estimation(*arrays, 0.9, mix)
    assert torch.equal(vtrace(*arrays, torch.ones_like(reward), 0.9, mix), expected)


def test_vtrace_is_torchrls_where_nothing_is_cut_off() -> None:
    from torchrl.objectives.value.functional import vtrace_advantage_estimate

    generator = torch.Generator().manual_seed(4)
    reward, value, next_value, ratio = torch.randn(4, 40, 6, generator=generator, dtype=torch.float64)
    value[1:] = next_value[:-1]  # one long episode, which ends with a termination
    terminated = torch.zeros(40, 6, dtype=torch.bool)
    terminated[-1] = True
    arguments = reward, value, next_value, terminated.double(), terminated.double(), ratio.exp()
    ours = vtrace(*arguments, 0.9)
    learned = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    rows = [each.T.unsqueeze(-1) for each in (learned + ratio, learned, value, next_value, reward, terminated)]
    theirs, target = vtrace_advantage_estimate(0.9, *rows, rows[-1])
    torch.testing.assert_close(ours, theirs.squeeze(-1).T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours + value, target.squeeze(-1).T, atol=1e-5, rtol=1e-5)


def test_gae_leaves_its_arguments_alone() -> None:
    arrays = [np.ones((3, 2)) for _ in range(5)]
    generalized_advantage_estimation(*arrays, 0.9, 0.9)
    assert all((array == 1.0).all() for array in arrays)


def test_gae_with_lambda_one_is_the_discounted_return_less_the_value() -> None:
    # rewards 1, 1, 1, ended: returns 1 + 0.5 + 0.25, 1 + 0.5, 1
    one = np.ones((3, 1))
    done = np.array([[0.0], [0.0], [1.0]])
    advantage = generalized_advantage_estimation(one, 7.0 * one, 7.0 * one, done, done, 0.5, 1.0)
    np.testing.assert_allclose(advantage + 7.0, [[1.75], [1.5], [1.0]])


def test_explained_variance() -> None:
    target = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert explained_variance(target, target).item() == 1.0
    assert explained_variance(torch.full((4,), 9.0), target).item() == 0.0
    # errors 0.5, -0.5, 0.5, -0.5: variance 1/3 against 5/3
    value = target + torch.tensor([0.5, -0.5, 0.5, -0.5])
    torch.testing.assert_close(explained_variance(value, target), torch.tensor(0.8))
    assert explained_variance(torch.zeros(4), torch.ones(4)).isfinite()
