"""A replay buffer that is saved in pieces and loaded draws exactly what the first one would have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from replay_world import World, make_task

from rl2cli.algorithms import replay_segments
from rl2cli.algorithms.replay import ReplayBuffer
from rl2cli.algorithms.replay_options import ReplayOptions
from rl2cli.segment import Segment


class Disk:
    """What a checkpoint writer does with segments."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, torch.Tensor]] = {}

    def write(self, segments: list[Segment]) -> list[str]:
        for segment in segments:
            if segment.sha256 is None:
                assert segment.tensors is not None
                segment.sha256 = str(len(self.files))
                self.files[segment.sha256] = {key: tensor.clone() for key, tensor in segment.tensors.items()}
        return [str(segment.sha256) for segment in segments]

    def read(self, names: list[str]) -> list[Segment]:
        return [Segment({key: tensor.clone() for key, tensor in self.files[name].items()}, name) for name in names]


def make_buffer(num_envs: int = 1, stack: int = 1, **options: Any) -> ReplayBuffer:
    task = make_task(num_envs, spaces.Box(-np.inf, np.inf, (stack,), np.float32), stack, has_action_mask=True)
    return ReplayBuffer(task, ReplayOptions(**{"buffer_size": 20, "n_step": 3} | options))


def assert_same_draws(one: ReplayBuffer, other: ReplayBuffer) -> None:
    assert len(one) == len(other)
    batches = []
    for buffer in (one, other):
        batch, index = buffer.sample(100, torch.Generator().manual_seed(7), 0.5)
        batches.append([*batch.tensors(), index])
    for ours, theirs in zip(*batches, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize(("stack", "prioritized"), [(1, False), (3, True)])
def test_a_loaded_buffer_draws_the_same(
    seed: int, num_envs: int, stack: int, prioritized: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(seed)
    monkeypatch.setattr(replay_segments, "MAX_PIECES", int(random.choice([2, 4, 256])))
    generator = torch.Generator().manual_seed(seed)
    options = {"buffer_size": int(random.integers(4, 60)), "prioritized": prioritized}
    buffer, disk = make_buffer(num_envs, stack, **options), Disk()
    world = World(seed, num_envs, stack, buffer.ring.length)
    for _ in range(20):
        if random.random() < 0.1:
            world.break_off()
        buffer.add(world.rollout(int(random.choice([1, 2, 20]))))
        _, index = buffer.sample(8, generator)
        buffer.set_priorities(index, torch.randn(8, generator=generator))
        if random.random() < 0.5:
            continue
        names, state = disk.write(buffer.segments()), buffer.get_state()
        assert len(names) <= replay_segments.MAX_PIECES
        loaded = make_buffer(num_envs, stack, **options)
        loaded.set_state(state)
        loaded.load_segments(disk.read(names))
        assert_same_draws(buffer, loaded)
        buffer = loaded if random.random() < 0.5 else buffer


def test_an_empty_buffer_has_no_segments() -> None:
    buffer, other = make_buffer(prioritized=True), make_buffer(prioritized=True)
    assert buffer.segments() == []
    other.set_state(buffer.get_state())
    other.load_segments([])
    assert len(other) == 0
    assert other._storage is None


def test_only_new_rows_are_copied() -> None:
    buffer, disk = make_buffer(buffer_size=1000), Disk()
    world = World(0, 1, 1, buffer.ring.length)
    world.ending = 0.0
    buffer.add(world.rollout(100))
    disk.write(buffer.segments())
    again = buffer.segments()
    assert len(again) == 1  # nothing is new
    buffer.add(world.rollout(5))
    first, second = buffer.segments()
    assert first is again[0]
    assert second.tensors is not None
    assert len(second.tensors["reward"]) == 6  # and the row of the next observation, which was one before


def test_a_segment_has_no_more_rows_than_the_rings() -> None:
    buffer = make_buffer(3, buffer_size=60)
    world = World(0, 3, 1, buffer.ring.length)
    for _ in range(30):
        buffer.add(world.rollout(5))
    (segment,) = buffer.segments()
    assert segment.tensors is not None
    assert len(segment.tensors["reward"]) <= buffer.ring.size


def test_segments_are_dropped_when_all_of_their_rows_are_overwritten() -> None:
    buffer, disk = make_buffer(buffer_size=10), Disk()
    world = World(0, 1, 1, buffer.ring.length)
    world.ending = 0.0
    alive = []
    for _ in range(8):
        buffer.add(world.rollout(4))
        alive.append(len(disk.write(buffer.segments())))
    assert alive == [1, 2, 3, 3, 3, 3, 3, 3]


def test_memory_is_given_back_once_a_segment_is_on_the_disk() -> None:
    buffer, disk = make_buffer(), Disk()
    world = World(0, 1, 1, buffer.ring.length)
    buffer.add(world.rollout(4))
    (segment,) = buffer.segments()
    content = segment.tensors
    buffer.add(world.rollout(1))
    assert segment.tensors is content  # it may still be being written
    disk.write([segment])
    buffer.add(world.rollout(1))
    assert segment.tensors is None


def test_segments_do_not_change_when_the_ring_goes_on() -> None:
    buffer = make_buffer(buffer_size=10)
    world = World(0, 1, 1, buffer.ring.length)
    buffer.add(world.rollout(4))
    (segment,) = buffer.segments()
    assert segment.tensors is not None
    before = {key: tensor.clone() for key, tensor in segment.tensors.items()}
    for _ in range(10):
        buffer.add(world.rollout(4))
    assert all(torch.equal(segment.tensors[key], tensor) for key, tensor in before.items())


def test_many_small_segments_become_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_segments, "MAX_PIECES", 8)
    buffer, disk = make_buffer(buffer_size=200), Disk()
    world = World(0, 1, 1, buffer.ring.length)
    written = 0
    for _ in range(400):
        buffer.add(world.rollout(1))
        before = len(disk.files)
        names = disk.write(buffer.segments())
        written += sum(len(disk.files[name]["reward"]) for name in names if int(name) >= before)
    assert len(names) == 8
    assert written < 400 * 60  # rewriting everything every time would be 400 × 200
