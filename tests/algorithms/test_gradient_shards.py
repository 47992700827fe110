"""Gradients made of shards: right numbers, and the same bits however the shards are spread over processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from gymnasium import spaces
from ppo_task import make_ppo, random_batch
from replay_task import BOX, DISCRETE, OffPolicy, draw_noise, make, move_apart
from replay_task import random_batch as random_replay
from torch import nn

from rl2cli.algorithms.adam import FlatAdam
from rl2cli.algorithms.dqn import DQN
from rl2cli.algorithms.gradient_shards import GradientShards, Loss, halved, pairwise_sum
from rl2cli.algorithms.ppo import PPO, Batch
from rl2cli.algorithms.sac import SAC
from rl2cli.algorithms.td3 import TD3
from rl2cli.algorithms.tqc import TQC


class Points(NamedTuple):
    """A minibatch of a regression."""

    x: torch.Tensor
    y: torch.Tensor

    @property
    def num_rows(self) -> int:
        return len(self.x)

    def select(self, rows: slice) -> Points:
        return Points(self.x[rows], self.y[rows])


class Virtual:
    """As many learners as there are threads that call `combine`, each with its own shards."""

    def __init__(self, learners: int, count: int) -> None:
        self.learners, self.count = learners, count
        self._barrier = threading.Barrier(learners)
        self._given: list[list[torch.Tensor]] = [[] for _ in range(learners)]

    def shards(self, rank: int) -> GradientShards:
        each = self.count // self.learners
        return GradientShards(self.count, range(rank * each, (rank + 1) * each), self._combine_of(rank))

    def _combine_of(self, rank: int) -> Callable[[list[torch.Tensor]], torch.Tensor]:
        def combine(parts: list[torch.Tensor]) -> torch.Tensor:
            self._given[rank] = halved(parts, self.count)
            self._barrier.wait()
            everyone = [part for given in self._given for part in given]
            self._barrier.wait()
            return pairwise_sum(everyone)

        return combine

    def run(self, act: Callable[[int], torch.Tensor]) -> list[torch.Tensor]:
        found: list[torch.Tensor] = [torch.empty(0)] * self.learners

        def call(rank: int) -> None:
            found[rank] = act(rank)

        threads = [threading.Thread(target=call, args=(rank,)) for rank in range(self.learners)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (2, 1), (4, 1), (6, 3), (12, 3), (5, 5)])
def test_neighbours_are_added_while_their_number_is_even(count: int, kept: int) -> None:
    parts = [torch.tensor(float(2**index)) for index in range(count)]
    assert len(halved(parts, count)) == kept
    assert pairwise_sum(parts) == 2**count - 1
    if count == 6:
        assert [part.item() for part in halved(parts, count)] == [3.0, 12.0, 48.0]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8, 12, 16, 24])
def test_the_order_of_the_sum_does_not_depend_on_who_has_what(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    parts = [torch.randn(1000, generator=generator) * 10.0 ** (index % 7) for index in range(count)]
    whole = pairwise_sum(parts)
    if count > 2:
        assert not torch.equal(
            whole, pairwise_sum([*parts[1:], parts[0]])
        )  # an order that mattered not would prove nothing
    for learners in range(1, count + 1):
        if count % learners == 0:
            each = count // learners
            left = [halved(parts[start : start + each], count) for start in range(0, count, each)]
            assert torch.equal(whole, pairwise_sum([part for own in left for part in own])), learners


def _loss(network: nn.Module) -> Callable[[Points, torch.Tensor], Loss]:
    def loss(batch: Points, weight: torch.Tensor) -> Loss:
        error = network(batch.x).squeeze(-1) - batch.y
        return Loss((weight * error.square()).mean(), [error.mean()], [error.abs()])

    return loss


def _regression(rows: int) -> tuple[nn.Module, FlatAdam, Points, torch.Tensor]:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = FlatAdam(network.parameters(), 1e-5, 0.5)
    optimizer.learning_rate.fill_(0.01)
    return network, optimizer, Points(torch.randn(rows, 3), torch.randn(rows)), torch.rand(rows)


@pytest.mark.parametrize("rows", [1, 3, 4, 10, 64])
@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_step_of_shards_is_the_step_of_the_whole(rows: int, count: int) -> None:
    network, optimizer, batch, weight = _regression(rows)
    norm, loss = optimizer.minimise(_loss(network), batch, weight)
    other, shared, _, _ = _regression(rows)
    shared.shards = GradientShards(count, range(count), pairwise_sum)
    shared_norm, shared_loss = shared.minimise(_loss(other), batch, weight)
    torch.testing.assert_close(shared_norm, norm, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(shared_loss.value, loss.value, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(shared_loss.means[0], loss.means[0], atol=1e-6, rtol=1e-5)
    assert shared_loss.rows[0].shape == (rows,)
    torch.testing.assert_close(shared_loss.rows[0], loss.rows[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(shared.flat, optimizer.flat, atol=1e-6, rtol=1e-5)
    assert not any(tensor.requires_grad for tensor in (shared_loss.value, *shared_loss.means, *shared_loss.rows))


def _ppo(shards: GradientShards | None) -> PPO:
    ppo = make_ppo(spaces.Discrete(3), minibatch_size=32)
    ppo.optimizer.shards = shards
    ppo.optimizer.learning_rate.fill_(0.01)
    return ppo


def _after_steps(ppo: PPO, batches: list[Batch]) -> torch.Tensor:
    for batch in batches:
        ppo._learn(batch, torch.tensor(0.2), torch.tensor(0.01))
    return ppo.optimizer.flat


@pytest.mark.parametrize("learners", [1, 2, 3, 6])
def test_ppo_has_the_same_bits_for_any_number_of_learners(learners: int) -> None:
    alone = _ppo(GradientShards(6, range(6), pairwise_sum))
    batches = [random_batch(alone, rows) for rows in (37, 32, 5)]
    expected = _after_steps(alone, batches)
    virtual = Virtual(learners, 6)
    ppos = [_ppo(virtual.shards(rank)) for rank in range(learners)]
    found = virtual.run(lambda rank: _after_steps(ppos[rank], batches))
    assert all(torch.equal(flat, expected) for flat in found)
    plain = _after_steps(_ppo(None), batches)
    assert not torch.equal(plain, expected)
    torch.testing.assert_close(plain, expected, atol=1e-5, rtol=1e-4)


def _replaying(kind: type[OffPolicy], space: spaces.Space[Any], shards: GradientShards | None) -> OffPolicy:
    algorithm = make(kind, space)
    move_apart(algorithm)
    for module in algorithm.modules():
        if isinstance(module, FlatAdam):
            module.shards = shards
            module.learning_rate.fill_(0.01)
    return algorithm


def _after_replay_steps(algorithm: OffPolicy) -> torch.Tensor:
    """Return reports, TD errors and parameters after three steps."""
    rows, found = algorithm.learner.rows - 1, []
    for seed in range(3):
        reports, errors = algorithm.step(random_replay(algorithm, rows, seed), draw_noise(algorithm, rows, seed))
        found += [torch.stack(list(reports)), errors]
    return torch.cat([*found, *[parameter.detach().flatten() for parameter in algorithm.parameters()]])


@pytest.mark.parametrize(
    ("kind", "space"), [(SAC, BOX), (SAC, DISCRETE), (TD3, BOX), (TQC, BOX), (DQN, DISCRETE)], ids=str
)
def test_replay_algorithms_have_the_same_bits_for_any_number_of_learners(
    kind: type[OffPolicy], space: spaces.Space[Any]
) -> None:
    expected = _after_replay_steps(_replaying(kind, space, GradientShards(4, range(4), pairwise_sum)))
    for learners in (2, 4):
        virtual = Virtual(learners, 4)
        algorithms = [_replaying(kind, space, virtual.shards(rank)) for rank in range(learners)]
        found = virtual.run(lambda rank, algorithms=algorithms: _after_replay_steps(algorithms[rank]))  # type: ignore[misc]  # mypy does not infer a lambda's default
        assert all(torch.equal(numbers, expected) for numbers in found), learners
    plain = _after_replay_steps(_replaying(kind, space, None))
    assert not torch.equal(plain, expected)
    torch.testing.assert_close(plain, expected, atol=1e-4, rtol=1e-3)
