"""Priorities, against numbers worked by hand and torchrl's sampler."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from replay_world import World, make_task

from rl2cli.algorithms.prioritized import BELOW_ONE, EPSILON, WIDTH, Priorities
from rl2cli.algorithms.replay import ReplayBuffer
from rl2cli.algorithms.replay_options import ReplayOptions

CPU = torch.device("cpu")


def make_priorities(values: list[float], exponent: float = 1.0) -> Priorities:
    priorities = Priorities(len(values), exponent, CPU)
    rows = torch.arange(len(values))
    priorities.begin(rows, torch.tensor(values) > 0)
    priorities.update(rows, torch.tensor(values))
    return priorities


def test_weights_by_hand() -> None:
    priorities = make_priorities([1.0, 0.0, 4.0, 9.0], exponent=0.5)  # p = 1, 0, 2, 3
    expected = [1.0, 2.0**-0.4, 3.0**-0.4]
    torch.testing.assert_close(priorities.weights(torch.tensor([0, 2, 3]), 0.4), torch.tensor(expected))
    assert priorities.weights(torch.tensor([0, 2, 3]), 0.0).tolist() == [1.0, 1.0, 1.0]


def test_new_rows_get_the_largest_priority_there_was() -> None:
    priorities = Priorities(4, 1.0, CPU)
    priorities.begin(torch.tensor([0, 1]), torch.tensor([True, False]))
    assert priorities.values.tolist() == pytest.approx([1.0, 0.0, 0.0, 0.0], abs=1e-5)
    priorities.update(torch.tensor([0]), torch.tensor([-7.0]))
    priorities.update(torch.tensor([0]), torch.tensor([3.0]))
    priorities.begin(torch.tensor([2]), torch.tensor([True]))
    assert priorities.values.tolist() == pytest.approx([3.0, 0.0, 7.0, 0.0], abs=1e-5)


def test_a_row_that_was_drawn_twice_gets_its_larger_error_and_no_frames_get_none() -> None:
    priorities = make_priorities([1.0, 1.0, 0.0])
    priorities.update(torch.tensor([0, 0, 0, 2]), torch.tensor([2.0, 5.0, 3.0, 8.0]))
    assert priorities.values.tolist() == pytest.approx([5.0, 1.0, 0.0], abs=1e-5)


@pytest.mark.parametrize("size", [5, WIDTH, WIDTH + 1, WIDTH**2 + 3])
def test_rows_are_drawn_as_often_as_their_priorities_say(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    values = torch.rand(size, generator=generator) * (torch.rand(size, generator=generator) < 0.5)
    values[0], values[-1] = 0.0, 2.0
    priorities = make_priorities(values.tolist())
    draws = 20_000
    index = priorities.draw(draws, generator)
    counts = torch.bincount(index, minlength=size)
    assert (counts[values == 0] == 0).all()
    share = priorities.values / priorities.values.sum()
    bins = torch.arange(size) * 50 // size  # of many rows, neighbours together
    expected = torch.zeros(50, dtype=torch.float64).index_add_(0, bins, share * draws)
    observed = torch.zeros(50, dtype=torch.float64).index_add_(0, bins, counts.double())
    some = expected > 0
    chi_square = float(((observed - expected)[some] ** 2 / expected[some]).sum())
    degrees = int(some.sum()) - 1
    assert abs(chi_square - degrees) < 4.0 * (2.0 * degrees) ** 0.5


def test_the_smallest_and_largest_random_numbers_draw_rows_that_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    fractions = torch.tensor([0.0, BELOW_ONE, 0.25], dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: fractions)
    values = [0.0] * (2 * WIDTH + 2)
    values[1] = values[WIDTH + 1] = values[WIDTH + 3] = values[-2] = 1.0
    assert make_priorities(values).draw(3, torch.Generator()).tolist() == [1, 2 * WIDTH, WIDTH + 1]


class _NumpyTree:
    """The interface of torchrl's compiled trees, which do not load under every version of PyTorch."""

    def __init__(self, size: int) -> None:
        self.values = np.full(size, self.neutral, np.float32)

    def __setitem__(self, index: torch.Tensor, value: torch.Tensor) -> None:
        self.values[index.numpy()] = value.numpy()

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.values[index.numpy()])


class _SumTree(_NumpyTree):
    neutral = 0.0

    def query(self, start: int, end: int) -> float:
        return float(self.values[start:end].sum())

    def scan_lower_bound(self, mass: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.searchsorted(self.values.cumsum(), mass)


class _MinTree(_NumpyTree):
    neutral = np.inf

    def query(self, start: int, end: int) -> float:
        return float(self.values[start:end].min())


def test_priorities_and_weights_are_torchrls(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchrl.data.replay_buffers import ListStorage
    from torchrl.data.replay_buffers.samplers import prioritized as theirs

    for kind, tree in {"Sum": _SumTree, "Min": _MinTree}.items():
        for bits in (32, 64):
            monkeypatch.setattr(theirs, f"{kind}SegmentTreeFp{bits}", tree)
    generator = torch.Generator().manual_seed(0)
    sampler = theirs.PrioritizedSampler(50, alpha=0.6, beta=0.4, eps=EPSILON)
    ours = make_priorities([1.0] * 50, exponent=0.6)
    sampler.update_priority(torch.arange(50), torch.ones(50))
    for _ in range(5):
        index = torch.randperm(50, generator=generator)[:20]
        error = 10.0 * torch.rand(20, generator=generator) ** 4
        sampler.update_priority(index, error)
        ours.update(index, error)
    torch.testing.assert_close(ours.values.float(), sampler._sum_tree[torch.arange(50)])
    storage = ListStorage(50)
    storage.set(list(range(50)), list(range(50)))
    index, info = sampler.sample(storage, 200)
    torch.testing.assert_close(ours.weights(index, 0.4), info["priority_weight"])


def test_frames_that_are_overwritten_lose_their_priority() -> None:
    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    options = ReplayOptions(buffer_size=12, prioritized=True, n_step=2)
    buffer = ReplayBuffer(make_task(2, space, 2, has_action_mask=True), options)
    world, generator = World(0, 2, 2, buffer.ring.length), torch.Generator().manual_seed(0)
    for _ in range(30):
        buffer.add(world.rollout(1))
        assert buffer._priorities is not None
        assert set(buffer._priorities.values.nonzero().squeeze(1).tolist()) == world.expected().keys()
        batch, index = buffer.sample(16, generator, 0.5)
        least = buffer._priorities.values[list(world.expected())].min()
        expected = (buffer._priorities.values[index] / least) ** -0.5
        torch.testing.assert_close(batch.weight, expected.float())
        buffer.set_priorities(index, torch.rand(16, generator=generator))


def test_state_holds_the_priorities() -> None:
    one, other = make_priorities([1.0, 0.0, 4.0, 9.0], 0.6), Priorities(4, 0.6, CPU)
    other.set_state(one.get_state())
    assert torch.equal(one.values, other.values)
    index = torch.tensor([0, 2])
    assert torch.equal(one.weights(index, 0.4), other.weights(index, 0.4))
    assert one.largest == other.largest == 9.0
