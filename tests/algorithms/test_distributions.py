"""Action distributions: log-probability and entropy against torch.distributions, samples, modes and masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions as td

from rl2cli.algorithms.distributions import Categorical, Distribution, MultiCategorical, make_distribution
from rl2cli.errors import UsageError
from rl2cli.spaces import action_dtype, action_shape, mask_width

BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)
MATRIX = spaces.Box(-1.0, 1.0, (2, 2), np.float32)
COMPOSITE = spaces.Dict(
    {
        "arm": spaces.Box(-1.0, 1.0, (2,), np.float32),
        "grip": spaces.Discrete(3),
        "tools": spaces.Tuple((spaces.MultiBinary(2), spaces.MultiDiscrete([2, 4]))),
    }
)
SPACES = {
    "discrete": spaces.Discrete(5),
    "discrete from 3": spaces.Discrete(4, start=3),
    "multi-discrete": spaces.MultiDiscrete([2, 5, 3]),
    "multi-binary": spaces.MultiBinary(4),
    "box": BOX,
    "matrix": MATRIX,
    "scalar box": spaces.Box(-1.0, 1.0, (), np.float32),
    "composite": COMPOSITE,
}


def _parameters(distribution: Distribution, rows: int = 64) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(5)
    outputs = 2.0 * torch.randn(rows, distribution.num_outputs, generator=generator)
    return outputs, torch.linspace(-1.0, 0.5, distribution.num_log_std), generator


def _normal(outputs: torch.Tensor, log_std: torch.Tensor) -> Any:
    return td.Independent(td.Normal(outputs, log_std.exp().expand_as(outputs)), 1)


def _multi_categorical(
    outputs: torch.Tensor, sizes: list[int], action: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [td.Categorical(logits=logits) for logits in outputs.split(sizes, -1)]
    log_prob = sum(part.log_prob(choice) for part, choice in zip(parts, action.unbind(-1), strict=True))
    return log_prob, sum(part.entropy() for part in parts)


def _reference(
    name: str, outputs: torch.Tensor, log_std: torch.Tensor, action: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    if name.startswith("discrete"):
        categorical = td.Categorical(logits=outputs)
        return categorical.log_prob(action), categorical.entropy()
    if name == "multi-discrete":
        return _multi_categorical(outputs, [2, 5, 3], action)
    if name == "multi-binary":
        bernoulli = td.Independent(td.Bernoulli(logits=outputs), 1)
        return bernoulli.log_prob(action.float()), bernoulli.entropy()
    if name != "composite":
        normal = _normal(outputs, log_std)
        return normal.log_prob(action.reshape(outputs.shape)), normal.entropy()
    arm, grip, switches, tools = outputs.split([2, 3, 2, 6], -1)  # keys in Gymnasium's order
    whole = action.long()
    pairs = [
        _reference("box", arm, log_std, action[:, :2]),
        _reference("discrete", grip, log_std, whole[:, 2]),
        _reference("multi-binary", switches, log_std, whole[:, 3:5]),
        _multi_categorical(tools, [2, 4], whole[:, 5:]),
    ]
    return sum(log_prob for log_prob, _ in pairs), sum(entropy for _, entropy in pairs)


@pytest.mark.parametrize("name", SPACES)
def test_log_prob_and_entropy_are_torchs(name: str) -> None:
    distribution = make_distribution(SPACES[name])
    outputs, log_std, generator = _parameters(distribution)
    action = distribution.sample(outputs, log_std, generator)
    log_prob, entropy = distribution.log_prob_and_entropy(outputs, log_std, action)
    expected_log_prob, expected_entropy = _reference(name, outputs, log_std, action)
    assert log_prob.shape == entropy.shape == (64,)
    torch.testing.assert_close(log_prob, expected_log_prob, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(entropy, expected_entropy, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SPACES)
def test_actions_have_the_shape_and_dtype_of_the_space(name: str) -> None:
    distribution = make_distribution(SPACES[name])
    outputs, log_std, generator = _parameters(distribution)
    for action in (distribution.sample(outputs, log_std, generator), distribution.mode(outputs)):
        assert action.shape == (64, *action_shape(SPACES[name]))
        assert action.dtype == action_dtype(SPACES[name])


@pytest.mark.parametrize("name", SPACES)
def test_the_mode_is_the_most_probable_action(name: str) -> None:
    distribution = make_distribution(SPACES[name])
    outputs, log_std, generator = _parameters(distribution)
    best, _ = distribution.log_prob_and_entropy(outputs, log_std, distribution.mode(outputs))
    for _ in range(50):
        other, _ = distribution.log_prob_and_entropy(outputs, log_std, distribution.sample(outputs, log_std, generator))
        assert (other <= best + 1e-5).all()


def _chi_square(counts: np.ndarray, probabilities: np.ndarray) -> float:
    expected = probabilities * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


def test_categorical_frequencies() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    generator = torch.Generator().manual_seed(0)
    actions = Categorical(4).sample(logits.expand(20_000, 4), torch.zeros(0), generator)
    chi_square = _chi_square(np.bincount(actions, minlength=4), logits.softmax(-1).numpy())
    assert chi_square < 11.34  # 99 % quantile at 3 degrees of freedom


def test_masked_categorical_frequencies() -> None:
    mask = torch.tensor([True, False, True, True])
    generator = torch.Generator().manual_seed(0)
    actions = Categorical(4).sample(torch.zeros(20_000, 4), torch.zeros(0), generator, mask.expand(20_000, 4))
    counts = np.bincount(actions, minlength=4)
    assert counts[1] == 0
    assert _chi_square(counts[[0, 2, 3]], np.full(3, 1 / 3)) < 9.21  # 2 degrees of freedom


def test_multi_categorical_choices_are_independent_and_right() -> None:
    outputs = torch.tensor([0.0, 1.0, 0.5, -0.5, 1.5])
    generator = torch.Generator().manual_seed(0)
    actions = MultiCategorical((2, 3)).sample(outputs.expand(20_000, 5), torch.zeros(0), generator)
    joint = torch.outer(outputs[:2].softmax(-1), outputs[2:].softmax(-1)).flatten()
    counts = np.bincount(actions[:, 0] * 3 + actions[:, 1], minlength=6)
    assert _chi_square(counts, joint.numpy()) < 15.09  # 5 degrees of freedom


def test_bernoulli_frequencies() -> None:
    outputs = torch.tensor([0.5, -1.0])
    generator = torch.Generator().manual_seed(0)
    actions = make_distribution(spaces.MultiBinary(2)).sample(outputs.expand(20_000, 2), torch.zeros(0), generator)
    yes = outputs.sigmoid()
    joint = torch.outer(torch.stack([1 - yes[0], yes[0]]), torch.stack([1 - yes[1], yes[1]])).flatten()
    counts = np.bincount(actions[:, 0] * 2 + actions[:, 1], minlength=4)
    assert _chi_square(counts, joint.numpy()) < 11.34


def test_normal_samples_have_the_mean_and_deviation() -> None:
    mean, log_std = torch.tensor([1.0, -2.0, 0.0]), torch.tensor([0.0, -1.0, 0.5])
    generator = torch.Generator().manual_seed(0)
    actions = make_distribution(BOX).sample(mean.expand(20_000, 3), log_std, generator)
    # deviation of a mean of 20,000 is std / 141, of a standard deviation std / 200: four of each
    assert ((actions.mean(0) - mean).abs() < 4 * log_std.exp() / 141).all()
    assert ((actions.std(0) - log_std.exp()).abs() < 4 * log_std.exp() / 200).all()
    correlation = np.corrcoef(actions.T.numpy())
    assert np.abs(correlation - np.eye(3)).max() < 0.03


def test_one_generator_state_gives_one_sample() -> None:
    for space in SPACES.values():
        distribution = make_distribution(space)
        outputs, log_std, _ = _parameters(distribution)
        samples = [distribution.sample(outputs, log_std, torch.Generator().manual_seed(9)) for _ in range(2)]
        assert torch.equal(*samples)
        other = distribution.sample(outputs, log_std, torch.Generator().manual_seed(10))
        assert not torch.equal(samples[0], other)


@given(data=st.data())
def test_masks_are_never_violated(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    space = spaces.Discrete(sizes[0]) if len(sizes) == 1 else spaces.MultiDiscrete(sizes)
    rows = data.draw(st.integers(1, 8))
    allowed = [
        [data.draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(any)) for size in sizes]
        for _ in range(rows)
    ]
    scale = data.draw(st.sampled_from([0.0, 1.0, 50.0, 1e4]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    distribution = make_distribution(space)
    outputs = scale * torch.randn(rows, distribution.num_outputs, generator=generator)
    mask = torch.tensor([[choice for part in row for choice in part] for row in allowed])
    assert mask.shape == (rows, mask_width(space))
    for action in (
        distribution.sample(outputs, torch.zeros(0), generator, mask),
        distribution.mode(outputs, mask),
    ):
        for row, choices in zip(allowed, action.reshape(rows, -1).tolist(), strict=True):
            assert all(part[choice] for part, choice in zip(row, choices, strict=True))
        log_prob, entropy = distribution.log_prob_and_entropy(outputs, torch.zeros(0), action, mask)
        assert log_prob.isfinite().all()
        assert entropy.isfinite().all()


def test_a_masked_choice_adds_nothing_to_the_entropy_or_its_gradient() -> None:
    outputs = torch.tensor([[0.3, 5.0, -0.2]], requires_grad=True)
    mask = torch.tensor([[True, False, True]])
    log_prob, entropy = Categorical(3).log_prob_and_entropy(outputs, torch.zeros(0), torch.tensor([0]), mask)
    two = td.Categorical(logits=torch.tensor([[0.3, -0.2]]))
    torch.testing.assert_close(log_prob, two.log_prob(torch.tensor([0])))
    torch.testing.assert_close(entropy, two.entropy())
    (gradient,) = torch.autograd.grad((log_prob + entropy).sum(), outputs)
    assert gradient[0, 1] == 0.0
    assert gradient.isfinite().all()


def test_extreme_outputs_stay_finite() -> None:
    for space in (spaces.Discrete(3), spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(3)):
        distribution = make_distribution(space)
        outputs = torch.full((1, distribution.num_outputs), 1e4)
        outputs[:, ::2] = -1e4
        action = distribution.mode(outputs)
        log_prob, entropy = distribution.log_prob_and_entropy(outputs, torch.zeros(0), action)
        assert math.isclose(log_prob.item(), 0.0, abs_tol=1e-5)
        assert math.isclose(entropy.item(), 0.0, abs_tol=1e-5)


def test_an_unknown_action_space_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Text"):
        make_distribution(spaces.Text(5))
