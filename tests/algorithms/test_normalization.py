from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rl2cli.algorithms import normalization
from rl2cli.algorithms.normalization import ObservationNormalizer, RewardNormalizer, RunningMoments

CPU = torch.device("cpu")


def test_moments_are_those_of_all_batches_joined() -> None:
    generator = np.random.default_rng(0)
    batches = [1e4 + 3.0 * generator.standard_normal((size, 3)) for size in (1, 7, 0, 100, 2)]
    moments = RunningMoments((3,), CPU)
    for batch in batches:
        moments.update(torch.from_numpy(batch))
    joined = np.concatenate(batches)
    assert moments.count == len(joined)
    np.testing.assert_allclose(moments.mean.numpy(), joined.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance.numpy(), joined.var(0), rtol=1e-8)


def test_before_the_first_batch_nothing_changes() -> None:
    normalizer = ObservationNormalizer(spaces.Box(-1.0, 1.0, (2,), np.float32), CPU)
    observation = torch.tensor([[0.5, -20.0]])
    torch.testing.assert_close(normalizer(observation), torch.tensor([[0.5, -10.0]]))  # but the cut


def test_a_dict_is_normalised_leaf_by_leaf_and_only_floats() -> None:
    space = spaces.Dict(
        {
            "image": spaces.Box(0, 255, (2,), np.uint8),
            "inner": spaces.Dict({"x": spaces.Box(-1.0, 1.0, (1,), np.float32), "n": spaces.Discrete(3)}),
        }
    )
    normalizer = ObservationNormalizer(space, CPU)
    observation = {
        "image": torch.tensor([[0, 200], [3, 4]], dtype=torch.uint8),
        "inner": {"x": torch.tensor([[2.0], [6.0]]), "n": torch.tensor([1, 2])},
    }
    normalizer.update(observation)
    normalised = normalizer(observation)
    assert torch.equal(normalised["image"], observation["image"])
    assert torch.equal(normalised["inner"]["n"], observation["inner"]["n"])
    # mean 4, deviation 2
    torch.testing.assert_close(normalised["inner"]["x"], torch.tensor([[-1.0], [1.0]]))
    torch.testing.assert_close(observation["inner"]["x"], torch.tensor([[2.0], [6.0]]))


def test_outliers_are_cut() -> None:
    normalizer = ObservationNormalizer(spaces.Box(-1.0, 1.0, (1,), np.float32), CPU)
    normalizer.update(torch.tensor([[-1.0], [1.0]]))
    torch.testing.assert_close(
        normalizer(torch.tensor([[50.0], [-50.0], [3.0]])), torch.tensor([[10.0], [-10.0], [3.0]])
    )


def test_pixels_are_standardised_with_a_floor_under_their_deviation() -> None:
    normalizer = ObservationNormalizer(spaces.Box(0, 255, (1, 2), np.uint8), CPU)
    images = torch.tensor([[[10, 100]], [[10, 112]]], dtype=torch.uint8)
    torch.testing.assert_close(normalizer(images), images / 255.0)  # until there are statistics
    normalizer.update(images)  # means 10 and 106, deviations 0 and 6, 4 added to each
    torch.testing.assert_close(normalizer(images), torch.tensor([[[0.0, -0.6]], [[0.0, 0.6]]]), atol=1e-4, rtol=0)
    assert normalizer(torch.tensor([[[255, 0]]], dtype=torch.uint8)).tolist() == [[[10.0, -10.0]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_are_standardised_in_parts_to_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    space = spaces.Box(0, 255, (4, 6, 5), np.uint8)
    images = torch.randint(0, 256, (7, *space.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    normalizer = ObservationNormalizer(space, CPU)
    normalizer.update(images)
    whole = normalizer(images).to(dtype)
    monkeypatch.setattr(normalization, "BYTES_IN_CACHE", 3 * 4 * 4 * 6 * 5)  # three images
    parts = normalizer(images, dtype)
    assert torch.equal(parts, whole)
    assert (parts.dtype, parts.movedim(1, 3).is_contiguous()) == (dtype, True)


def test_statistics_of_images_take_in_some_of_a_batch_from_its_beginning_to_its_end() -> None:
    normalizer = ObservationNormalizer(spaces.Box(0, 255, (2, 2), np.uint8), CPU)
    assert normalizer.moments is not None
    normalizer.update(torch.arange(200, dtype=torch.uint8).view(200, 1, 1).expand(200, 2, 2))
    assert normalizer.moments.count == 100
    torch.testing.assert_close(normalizer.moments.mean, torch.full((2, 2), 99.0, dtype=torch.float64))
    normalizer.update(torch.zeros(0, 2, 2, dtype=torch.uint8))
    assert normalizer.moments.count == 100


def test_a_key_may_be_any_word() -> None:
    space = spaces.Dict({"update": spaces.Box(-1.0, 1.0, (1,), np.float32), "type": spaces.Discrete(2)})
    normalizer = ObservationNormalizer(space, CPU)
    normalizer.update({"update": torch.tensor([[1.0], [3.0]]), "type": torch.tensor([0, 1])})
    torch.testing.assert_close(
        normalizer({"update": torch.tensor([[3.0]]), "type": torch.tensor([1])})["update"], torch.tensor([[1.0]])
    )


@pytest.mark.parametrize("key", ["a.b", "ключ", "with space", ""])
def test_a_key_may_be_any_text(key: str) -> None:
    space = spaces.Dict({key: spaces.Box(-1.0, 1.0, (1,), np.float32)})
    normalizer = ObservationNormalizer(space, CPU)
    normalizer.update({key: torch.tensor([[1.0], [3.0]])})
    torch.testing.assert_close(normalizer({key: torch.tensor([[3.0]])})[key], torch.tensor([[1.0]]))


def test_reward_scale_by_hand_with_ends_and_rows_that_were_no_frame() -> None:
    normalizer = RewardNormalizer(2, 0.5, CPU)
    reward = torch.tensor([[1.0, 4.0], [2.0, 0.0], [3.0, 99.0]])
    done = torch.tensor([[False, False], [True, True], [False, False]])
    valid = torch.tensor([[True, True], [True, True], [True, False]])
    normalizer.update(reward, done, valid)
    # discounted returns; environment 0: 1, 0.5 * 1 + 2 = 2.5 (ended), 3; environment 1: 4, 0.5 * 4 + 0 = 2 (ended)
    returns = np.array([1.0, 2.5, 3.0, 4.0, 2.0])
    assert normalizer.moments.count == 5
    assert normalizer.moments.variance.item() == pytest.approx(returns.var())
    assert normalizer.discounted.tolist() == [3.0, 0.0]
    torch.testing.assert_close(
        normalizer(torch.tensor([[1.0]])), torch.tensor([[1.0 / returns.std()]], dtype=torch.float32)
    )
    assert normalizer(torch.tensor([1e6])).item() == 10.0
    # the next rollout goes on: 0.5 * 3 + 1 = 2.5, and 0 + 1 = 1
    one = torch.ones(1, 2)
    normalizer.update(one, torch.zeros(1, 2, dtype=torch.bool), one.bool())
    assert normalizer.discounted.tolist() == [2.5, 1.0]


def test_reward_statistics_are_saved() -> None:
    normalizer, other = RewardNormalizer(2, 0.9, CPU), RewardNormalizer(2, 0.9, CPU)
    flags = torch.zeros(4, 2, dtype=torch.bool)
    normalizer.update(torch.randn(4, 2), flags, ~flags)
    other.load_state_dict(normalizer.state_dict())
    for each in (normalizer, other):
        each.update(torch.ones(4, 2), flags, ~flags)
    assert torch.equal(normalizer.moments.variance, other.moments.variance)
    assert torch.equal(normalizer.discounted, other.discounted)
